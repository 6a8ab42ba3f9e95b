"""A training in a process of its own, to be killed: a line for each event, and the digest of the weights at the end.

Arguments: folder with `train` and `validation`, folder for checkpoints, seconds to wait after each event.
"""

import hashlib
import sys
import time
from pathlib import Path

from mlopt.isolation import NEVER_NEEDED, TORCH, hide

hide(TORCH | NEVER_NEEDED)

from mlopt.frameworks.fitting import FitTask, LabelLoss, Optimizer  # noqa: E402
from mlopt.frameworks.keras.network.model import trainable  # noqa: E402
from mlopt.outputs import LabelKind  # noqa: E402
from mlopt.testing import tiny  # noqa: E402


def job(data: Path, checkpoints: Path) -> FitTask:
    return FitTask(
        samples=data / "train", validation=data / "validation", epochs=4, batch=8, augment=("flip", "shift"),
        losses=(LabelLoss(output="label", kind=LabelKind.CATEGORIES),), optimizer=Optimizer(learning_rate=5e-3),
        checkpoints=checkpoints, checkpoint_every_s=0.0, early_stopping=3,
    )


def main() -> None:
    data, checkpoints, wait_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    one = tiny.TinyModel(tiny.build("small_convnet"))
    model = trainable(one.model, one.signature)

    def on_event(event: dict[str, object]) -> None:
        print("step", event["done"], flush=True)
        time.sleep(wait_s)

    result = model.fit(job(data, checkpoints), on_event)
    whole = hashlib.sha256()
    for name, array in sorted(model.weights().items()):
        whole.update(name.encode() + array.tobytes())
    figures = [(facts.validation, dict(facts.losses)) for facts in result.epochs]
    print("resumed", result.resumed_at_step, flush=True)
    print("end", whole.hexdigest(), hashlib.sha256(repr(figures).encode()).hexdigest(), flush=True)


if __name__ == "__main__":
    main()
