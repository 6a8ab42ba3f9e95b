"""A training on two logical CPUs, which must be made before TensorFlow starts. Arguments: samples, work folder."""

import sys
from pathlib import Path

from mlopt.isolation import NEVER_NEEDED, TORCH, hide

hide(TORCH | NEVER_NEEDED)

import numpy as np  # noqa: E402

from mlopt.frameworks.keras.quiet import tf  # noqa: E402

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from mlopt.frameworks.fitting import FitTask, LabelLoss, Optimizer, Strategy  # noqa: E402
from mlopt.frameworks.keras.network.model import trainable  # noqa: E402
from mlopt.outputs import LabelKind  # noqa: E402
from mlopt.testing import tiny  # noqa: E402


def task_of(samples: Path, work: Path, *, strategy: Strategy, batch: int, epochs: int) -> FitTask:
    return FitTask(
        samples=samples, validation=samples, epochs=epochs, batch=batch, checkpoints=work, checkpoint_every_s=0.0,
        strategy=strategy, losses=(LabelLoss(output="topic", kind=LabelKind.CATEGORIES),),
        augment=("time-shift", "noise"),
        optimizer=Optimizer(name="sgd", learning_rate=0.05, clip_norm=1.0, weight_decay=0.01),
    )


def main() -> None:
    samples, work = Path(sys.argv[1]), Path(sys.argv[2])
    one = tiny.TinyModel(tiny.build("small_transformer"))
    model = trainable(one.model, one.signature)
    result = model.fit(task_of(samples, work, strategy=Strategy.MIRRORED, batch=8, epochs=3), lambda event: None)
    np.savez(work / "weights.npz", allow_pickle=False, **{n.replace("/", "|"): a for n, a in model.weights().items()})
    print(result.replicas, result.steps, repr(result.epochs[-1].losses["total"]))


if __name__ == "__main__":
    main()
