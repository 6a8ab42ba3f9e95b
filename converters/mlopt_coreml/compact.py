"""Takes out of a package what a device does not need, without changing a number that it computes.

coremltools writes a name of its own for every stride and padding, writes each of them again for every layer, and puts
every tensor of ten numbers on a 128-byte footing in the weight file. Here equal constants are written once, constants
get short names, and small tensors stand in the program itself. Operations keep names that tell the source's layer.
"""

import re
from collections.abc import Mapping, Sequence

from mlopt_coreml.mil.blob import CODES, WeightFile, WeightFileWriter
from mlopt_coreml.mil.program import Constant, Operation, TensorType, main_block, read_program
from mlopt_coreml.package import WEIGHTS_REFERENCE, Package
from mlopt_coreml.private.coremltools import MIL_pb2

# A tensor in the weight file costs a 64-byte record, padding to 64 bytes and a reference of 40; up to this size it is
# smaller in the program, and small enough that a device need not map it from disk.
INLINE_BYTES = 512
_PASS_SUFFIX = re.compile(r"(_cast_fp16|_to_fp16)+$")


def compacted(package: Package, *, scope: str = "", ports: Mapping[str, str] | None = None) -> Package:
    """The package anew. `scope` is taken off the front of operation names; `ports` renames inputs and outputs."""
    slim = type(package.model)()
    slim.CopyFrom(package.model)
    slim.description.ClearField("metadata")                     # the date, and versions that the bundle records
    operations = read_program(slim, package.weights).operations
    fixed = {port.name for port in slim.mlProgram.functions["main"].inputs} | set(main_block(slim).outputs)
    names = {name: (ports or {}).get(name, name) for name in sorted(fixed)}
    titles = _name_operations(operations, names, scope)
    _name_constants(operations, names)
    writer = WeightFileWriter()
    _rewrite(main_block(slim), operations, names, titles, writer)
    for port in (*slim.description.input, *slim.description.output, *slim.mlProgram.functions["main"].inputs):
        port.name = names.get(port.name, port.name)
    return Package(slim, WeightFile(writer.finish()))


def _is_constant(kind: str) -> bool:
    return kind == "const" or kind.startswith("constexpr_")


def _name_operations(operations: Sequence[Operation], names: dict[str, str], scope: str) -> dict[str, str]:
    """Add the values that operations give to `names`, old to new; returns each operation's own name, by its last value.

    The operation keeps its layer's name also where a cast to float32 after it took that name for the model's output.
    """
    taken, taken_titles = set(names.values()), set[str]()
    counts: dict[str, int] = {}
    titles: dict[str, str] = {}
    plain: dict[str, str] = {}
    for op in operations:
        if _is_constant(op.kind):
            continue
        last = op.outputs[-1].name
        for port in op.outputs:
            title = names.get(port.name) or _plain(port.name, op.kind, scope, counts)
            counted = op.name == last or _is_counted(op.name, op.kind)
            plain[port.name] = title if counted else _plain(op.name, op.kind, scope, counts)
            if port.name not in names:
                names[port.name] = _free(title, taken)
    for casts in (False, True):
        for op in operations:
            if not _is_constant(op.kind) and (op.kind == "cast") == casts:
                last = op.outputs[-1].name
                titles[last] = _free(plain[last], taken_titles)
    return titles


def _name_constants(operations: Sequence[Operation], names: dict[str, str]) -> None:
    """Add the constants to `names`: short ones, and one for all that are equal."""
    fixed, taken = set(names), set(names.values())
    seen: dict[tuple[TensorType, bytes], str] = {}
    serial = 0
    for op in operations:
        if not _is_constant(op.kind):
            continue
        for port in op.outputs:
            key = _identity(op)
            if port.name in fixed:
                continue
            if key is None or key not in seen:
                serial += 1
                name = _free(f"c{serial}" if op.kind == "const" else f"w{serial}", taken)
                if key is not None:
                    seen[key] = name
            else:
                name = seen[key]
            names[port.name] = name


def _identity(op: Operation) -> tuple[TensorType, bytes] | None:
    """What makes two constants equal; None for compressed weights, which stay apart."""
    if op.kind != "const":
        return None
    held = op.arguments["val"][0]
    assert isinstance(held, Constant)
    return held.type, held.array.tobytes()


def _plain(name: str, kind: str, scope: str, counts: dict[str, int]) -> str:
    """The name without what conversion passes added; names that coremltools counted up are counted anew."""
    name = _PASS_SUFFIX.sub("", name)
    if _is_counted(name, kind):
        counts[kind] = counts.get(kind, 0) + 1
        return f"{kind}_{counts[kind]}"
    return name.removeprefix(scope) if scope else name


def _is_counted(name: str, kind: str) -> bool:
    """True for a name like conv_17, whose number depends on what this process converted before."""
    return re.fullmatch(rf"{kind}_\d+", name) is not None


def _free(name: str, taken: set[str]) -> str:
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    taken.add(unique)
    return unique


def _rewrite(
    block: MIL_pb2.Block,
    operations: Sequence[Operation],
    names: Mapping[str, str],
    titles: Mapping[str, str],
    writer: WeightFileWriter,
) -> None:
    kept: list[MIL_pb2.Operation] = []
    written: set[str] = set()
    for message, op in zip(block.operations, operations, strict=True):
        new_names = [names[port.name] for port in op.outputs]
        if op.kind == "const" and new_names[0] in written:
            continue
        written.update(new_names)
        new = _renamed(message, op, names, writer)
        set_name(new, titles.get(op.outputs[-1].name, new_names[-1]))
        kept.append(new)
    del block.operations[:]
    block.operations.extend(kept)
    block.outputs[:] = [names[name] for name in block.outputs]


def _renamed(
    message: MIL_pb2.Operation, op: Operation, names: Mapping[str, str], writer: WeightFileWriter
) -> MIL_pb2.Operation:
    new = MIL_pb2.Operation()
    new.CopyFrom(message)
    for output in new.outputs:
        output.name = names[output.name]
    for parameter, argument in new.inputs.items():
        for binding, held in zip(argument.arguments, op.arguments[parameter], strict=True):
            if isinstance(held, Constant):
                _place(binding.value, held, writer)
            else:
                binding.name = names[binding.name]
    for parameter, value in new.attributes.items():
        if parameter != "name":
            held = op.arguments[parameter][0]
            assert isinstance(held, Constant)
            _place(value, held, writer)
    return new


def set_name(operation: MIL_pb2.Operation, name: str) -> None:
    """The name by which Core ML's tools show an operation."""
    value = operation.attributes["name"]
    value.Clear()
    value.type.tensorType.dataType = MIL_pb2.DataType.STRING
    value.immediateValue.tensor.strings.values.append(name)


def _place(value: MIL_pb2.Value, held: Constant, writer: WeightFileWriter) -> None:
    """Small tensors in the program, others in the weight file; numbers only."""
    dtype = held.type.dtype
    if dtype not in CODES or (not held.in_file and held.stored_bytes <= INLINE_BYTES):
        return
    if held.stored_bytes > INLINE_BYTES:
        raw = held.raw
        value.blobFileValue.fileName = WEIGHTS_REFERENCE       # replaces an immediate value, being of one union
        value.blobFileValue.offset = writer.add(dtype, held.type.size, raw)
        return
    tensor = value.immediateValue.tensor
    if dtype == "float32":
        tensor.floats.values.extend(held.array.reshape(-1).tolist())
    elif dtype in ("int16", "uint16", "int32"):                # as Core ML reads them: only these as numbers
        tensor.ints.values.extend(held.array.reshape(-1).tolist())
    else:
        tensor.bytes.values = held.raw
