"""In which numbers a training computes: half as wide where the devices are faster with them, weights always float32."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from mlopt.frameworks.fitting import FitTask, LabelLoss, Strategy
from mlopt.frameworks.keras.fitting.student import Trainee
from mlopt.frameworks.keras.grid.layers import OnGrid, Rounding
from mlopt.frameworks.keras.quiet import tf
from mlopt.network import Kind, Network
from mlopt.outputs import Head, LabelKind

WORTH_MACS = 1 << 20            # of a sample: smaller networks spend their time elsewhere
WORTH_CHANNELS = 16             # read or made by a convolution
_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")     # as /proc/cpuinfo names them
_IN_THIS_PROCESS = (Strategy.AUTO, Strategy.ONE, Strategy.MIRRORED)


class Arithmetic(StrEnum):
    FLOAT32 = "float32"
    FLOAT16 = "float16"         # small gradients vanish in it: the loss is scaled
    BFLOAT16 = "bfloat16"       # has float32's range

    @property
    def note(self) -> str:
        """For the report; empty where there is nothing to say."""
        if self is Arithmetic.FLOAT32:
            return ""
        where = "half precision on the GPU" if self is Arithmetic.FLOAT16 else "the processor's bfloat16"
        return f"arithmetic in {where}, weights in float32"


_REWRITERS = {
    Arithmetic.FLOAT16: "auto_mixed_precision", Arithmetic.BFLOAT16: "auto_mixed_precision_onednn_bfloat16",
}


def chosen(trainee: Trainee, task: FitTask, kinds: Mapping[str, Head]) -> Arithmetic:
    """What the devices of this process are fastest with and the task bears; `kinds` are of the outputs that are taught.

    A network on a grid rounds as its file does and stays float32, and so does one that is held to values: narrower
    numbers have three digits. On a processor bfloat16 is taken for convolutions alone, where they are most of the work:
    measured on a ResNet-8 1.65 times as fast, and slower on depthwise and on very narrow networks.
    """
    on_grid = any(isinstance(layer, Rounding | OnGrid) for layer in trainee.keras_model.submodules)
    labelled = any(isinstance(loss, LabelLoss) and loss.kind is LabelKind.VALUES for loss in task.losses)
    if on_grid or labelled or Head.PLAIN in kinds.values() or task.strategy not in _IN_THIS_PROCESS:
        return Arithmetic.FLOAT32
    if tf.config.list_logical_devices("GPU"):
        return Arithmetic.FLOAT16
    if task.strategy is not Strategy.MIRRORED and worthwhile(trainee.network) and _has_instructions():
        return Arithmetic.BFLOAT16
    return Arithmetic.FLOAT32


def worthwhile(network: Network) -> bool:
    """Whether a network gains by narrower numbers: most of its work is in convolutions over pictures, enough of it, and
    none of them is depthwise or has few channels on both sides, which was measured to take twice the time.
    """
    working = [node for node in network.nodes if node.macs]
    convolutions = [n for n in working if n.kind is Kind.CONVOLUTION and len(n.shape) > 2]
    sizes = [(n.kernel.shape[n.kernel.in_axis or 0], n.channels) for n in convolutions]
    return (
        network.macs >= WORTH_MACS and 2 * sum(n.macs for n in convolutions) >= network.macs
        and all(max(size) >= WORTH_CHANNELS for size in sizes) and all(n.kind is not Kind.DEPTHWISE for n in working)
    )


def _has_instructions() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return False
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "").split()
    return any(name in flags for name in _INSTRUCTIONS)


@contextmanager
def rewritten(arithmetic: Arithmetic) -> Iterator[None]:
    """The graph rewritten to narrower numbers where there are any; as it was before on leaving."""
    option = _REWRITERS.get(arithmetic)
    if option is None:
        yield
        return
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})
