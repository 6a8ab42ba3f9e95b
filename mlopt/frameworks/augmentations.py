"""Which inputs an augmentation of a recipe can vary; how, each framework's own training says."""

from collections.abc import Mapping, Sequence

from mlopt.errors import BadRequest
from mlopt.model import Signature, TensorSpec

_PICTURES = ("flip", "shift")
_SOUNDS = ("time-shift", "time-mask", "frequency-mask")
NAMES = (*_PICTURES, "noise", "mixup", *_SOUNDS)
_NEEDS: Mapping[str, str] = {
    "flip": "an image input [N, height, width, channels]",
    "shift": "an image input [N, height, width, channels]",
    "noise": "an input of real numbers",
    "mixup": "inputs of real numbers alone",
    "time-shift": "an input with time along its first axis: [N, time, features] or [N, time, frequency, 1]",
    "time-mask": "an input with time along its first axis: [N, time, features] or [N, time, frequency, 1]",
    "frequency-mask": "an input with frequency along its second axis: [N, time, features] or [N, time, frequency, 1]",
}


def check(names: Sequence[str], signature: Signature) -> None:
    """Raise `BadRequest` for a name that does not exist, or that no input of the model suits."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise BadRequest(f"there is no augmentation {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for name in names:
        if not any(fits(name, spec) for spec in signature.inputs):
            have = ", ".join(spec.describe() for spec in signature.inputs)
            raise BadRequest(f"the augmentation {name} needs {_NEEDS[name]}; the model has {have}")


def fits(name: str, spec: TensorSpec) -> bool:
    """Whether that augmentation varies this input."""
    real = spec.dtype.startswith("float")
    if name in _PICTURES:
        return real and spec.layout == "NHWC"
    if name in _SOUNDS:
        return real and len(spec.shape) in (3, 4) and spec.layout in ("NTC", "NHWC")
    return real
