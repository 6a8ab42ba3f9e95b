"""Which constants of a program are weights, and how each is stored."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlopt_coreml.mil.program import Constant, Operation, Program

# operation -> the parameters that hold its weights
WEIGHT_PARAMETERS = {
    "conv": ("weight",),
    "conv_transpose": ("weight",),
    "linear": ("weight",),
    "matmul": ("x", "y"),
    "einsum": ("values",),
    "gather": ("x",),
    "lstm": ("weight_ih", "weight_hh"),
    "gru": ("weight_ih", "weight_hh"),
    "rnn": ("weight_ih", "weight_hh"),
}


@dataclass(frozen=True)
class Stored:
    """One constant as it stands in the file."""

    label: str             # "float16", "int8", "uint6-palette", "sparse-int8", ...
    elements: int          # numbers after opening
    bytes: int             # everything it takes: indices and tables, data and scales and masks


def stored_weights(program: Program) -> dict[str, Stored]:
    """Every constant number of the program by its name, however it is compressed."""
    weights: dict[str, Stored] = {}
    for op in program.operations:
        if op.kind == "const":
            held = op.arguments["val"][0]
            if isinstance(held, Constant) and held.type.dtype != "string":
                weights[op.outputs[0].name] = Stored(held.type.dtype, held.type.size, held.stored_bytes)
        elif op.kind.startswith("constexpr_"):
            own = sum(c.stored_bytes for held in op.arguments.values() for c in held if isinstance(c, Constant))
            # a chain of such operations is one weight: the last takes the bytes of the earlier
            earlier = [weights.pop(name) for name in sorted(set(op.names())) if name in weights]
            total = own + sum(s.bytes for s in earlier)
            label = _label(op, [s.label for s in earlier])
            weights[op.outputs[-1].name] = Stored(label, op.outputs[-1].type.size, total)
            for port in op.outputs[:-1]:
                weights.setdefault(port.name, Stored(label, 0, 0))
    return weights


def _label(op: Operation, earlier: list[str]) -> str:
    def dtype(parameter: str) -> str:
        held = op.arguments[parameter][0]
        return held.type.dtype if isinstance(held, Constant) else earlier[0] if earlier else "unknown"

    kind = op.kind.removeprefix("constexpr_")
    if kind == "cast":
        return dtype("source_val")
    if kind == "affine_dequantize":
        return dtype("quantized_data")
    if kind == "blockwise_shift_scale":
        return dtype("data")
    if kind == "lut_to_dense":
        return f"{_indices(op)}-palette"
    if kind == "lut_to_sparse":
        return f"{dtype('indices_nonzero_data')}-palette"
    if kind == "sparse_blockwise_shift_scale":
        return dtype("nonzero_data")
    if kind == "sparse_to_dense":
        inner = dtype("nonzero_data")
        return inner if inner.startswith("sparse-") else f"sparse-{inner}"
    return kind


def _indices(op: Operation) -> str:
    indices, lut = op.arguments["indices"][0], op.arguments["lut"][0]
    if "shape" in op.arguments and isinstance(lut, Constant):       # iOS 16 packs indices in plain bytes
        return f"uint{int(np.log2(lut.type.size))}"
    return indices.type.dtype if isinstance(indices, Constant) else "unknown"


def weight_uses(program: Program) -> Iterator[tuple[Operation, str]]:
    """Each operation that owns weights, with the name of the constant: at least two axes, read as a weight."""
    constants = {op.outputs[-1].name for op in program.operations
                 if op.kind == "const" or op.kind.startswith("constexpr_")}
    for op in program.operations:
        for parameter in WEIGHT_PARAMETERS.get(op.kind, ()):
            for name in op.arguments.get(parameter, ()):
                if isinstance(name, str) and name in constants:
                    tensor = program.types[name]
                    if len(tensor.shape) >= 2 and tensor.dtype.startswith("float"):
                        yield op, name
