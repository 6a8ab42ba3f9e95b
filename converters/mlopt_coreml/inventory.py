"""The names of all operations in a package that can be read whole: what a gate must know before it judges more."""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from mlopt.errors import ModelUnreadable
from mlopt_coreml.mil.blob import BITS, DamagedWeights, WeightFile
from mlopt_coreml.mil.program import dtype_name, main_block
from mlopt_coreml.package import Package, read_package
from mlopt_coreml.private.coremltools import MIL_pb2, Model_pb2

_LAYERED = ("neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor")


def operations(file: Path) -> list[str]:
    """Sorted, each once, those in branches and loops too; constants and what opens compressed weights are none.

    Core ML itself runs on Apple's systems alone. What stands for it here: the specification parses, says what goes in
    and out, and each tensor that the program names lies in the weight file as it is named. Raises `ModelUnreadable`.
    """
    path = Path(file)
    package = read_package(path) if path.suffix == ".mlpackage" else _alone(path)
    model = package.model
    if model.specificationVersion < 1 or not model.description.input or not model.description.output:
        raise ModelUnreadable(path, "this is no Core ML model: it has no version, no input or no output")
    kind = model.WhichOneof("Type")
    if kind in _LAYERED:
        return sorted({layer.WhichOneof("layer") or "nothing" for layer in getattr(model, kind).layers})
    try:
        found = set(_in_block(main_block(model), package.weights))
    except ValueError as err:       # unreadable, damaged, or of a type that no protocol buffer of Core ML has
        raise ModelUnreadable(path, str(err)) from err
    return sorted(name for name in found if name != "const" and not name.startswith("constexpr_"))


def _alone(file: Path) -> Package:
    """A specification without a package around it; its weights stand in it."""
    model = Model_pb2.Model()
    try:
        model.ParseFromString(file.read_bytes())
    except DecodeError as err:
        raise ModelUnreadable(file, "it is damaged, or no Core ML model") from err
    except OSError as err:
        raise ModelUnreadable(file, f"cannot be read ({err.strerror})") from err
    return Package(model, WeightFile(b""))


def _in_block(block: MIL_pb2.Block, weights: WeightFile) -> Iterator[str]:
    waiting = [block]
    while waiting:
        for op in waiting.pop().operations:
            yield op.type
            waiting.extend(op.blocks)
            for value in _values(op):
                _check(value, weights)


def _values(op: MIL_pb2.Operation) -> Iterator[MIL_pb2.Value]:
    yield from op.attributes.values()
    for argument in op.inputs.values():
        for binding in argument.arguments:
            if binding.WhichOneof("binding") == "value":
                yield binding.value


def _check(value: MIL_pb2.Value, weights: WeightFile) -> None:
    """Raise `DamagedWeights` where the weight file does not hold the tensor that `value` names."""
    if value.WhichOneof("value") != "blobFileValue":
        return
    tensor = value.type.tensorType
    dtype, count = dtype_name(tensor.dataType), 1
    if dtype not in BITS:
        raise DamagedWeights(f"a tensor of type {dtype} is said to stand in the weight file")
    for dimension in tensor.dimensions:
        count *= int(dimension.constant.size)
    weights.tensor(value.blobFileValue.offset, dtype, count)
