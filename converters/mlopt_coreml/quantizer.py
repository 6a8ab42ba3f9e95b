"""One precision out of the float32 package. Sees neither TensorFlow nor torch.

Everything but float32 computes in float16, as phones do; compressed weights are opened to float16 when a device loads
the package.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mlopt.artifact import Made
from mlopt.data.samples import Samples
from mlopt.errors import MloptError, ModelUnreadable
from mlopt.model import Signature
from mlopt_coreml.compact import compacted
from mlopt_coreml.compress import FORM_BYTES, Compressed, Weight, int8, palette, sparse_int8
from mlopt_coreml.converting import converted
from mlopt_coreml.mil.program import Constant, Operation, Program, main_block, read_program
from mlopt_coreml.package import WEIGHTS_FOLDER, Package, program_of, read_package, write_package
from mlopt_coreml.private import coremltools as private
from mlopt_coreml.private.coremltools import MIL_pb2
from mlopt_coreml.stored import weight_uses

SPARSE_ENOUGH = 0.3     # zeros among a layer's weights; below, the mask eats what the zeros save

_BALANCED = "nearest, then moved so that errors cancel in every kernel and channel"


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How a precision stores each weight, and what it says of itself."""

    weights: str
    store: Callable[[Weight], Compressed]


def _sparse_or_dense(weight: Weight) -> Compressed:
    return sparse_int8(weight) if float(np.mean(weight.values == 0)) >= SPARSE_ENOUGH else int8(weight)


_WAYS = {
    "int8-weights": _Way(weights="int8, a scale for each channel", store=int8),
    "palette8": _Way(weights="one of 256 values", store=partial(palette, bits=8)),
    "palette6": _Way(weights="one of 64 values", store=partial(palette, bits=6)),
    "palette4": _Way(weights="one of 16 values", store=partial(palette, bits=4)),
    "sparse-int8": _Way(weights="int8, a scale for each channel, zeros as a bit mask", store=_sparse_or_dense),
}


def make(
    float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int
) -> Made:
    """Write `precision` of `float_file` to `dest`. Uses no samples and no chance."""
    if precision == "float32":
        package = read_package(float_file)
        write_package(package.model, package.weights.raw, dest)
        return Made(path=dest)
    if precision == "float16":
        half = _half(float_file)
        return _finish(half, dest, {"activations": "float16", "weights": "float16"}, [])
    if precision not in _WAYS:
        raise ValueError(f"Core ML packages are not made in {precision}")
    if precision == "sparse-int8" and (reason := not_sparse(float_file)):
        raise MloptError(reason)
    return _compressed(_half(float_file), dest, _WAYS[precision])


def not_sparse(float_file: Path) -> str:
    """Why sparse weights make no sense for this model, or an empty text."""
    shares = [float(np.mean(values == 0)) for values in _weights(_program(float_file)).values()]
    if max(shares, default=0.0) >= SPARSE_ENOUGH:
        return ""
    return (
        f"sparse-int8 needs a layer with at least {SPARSE_ENOUGH:.0%} zeros among its weights, and the most that any "
        f"layer has is {max(shares, default=0.0):.0%}: prune the model first, or take int8-weights."
    )


def weight_sparsity(file: Path) -> float:
    """The share of zeros among all weights of a package, in [0, 1]; nan where it has none."""
    zeros = total = 0
    for values in _weights(_program(file)).values():
        zeros += int(np.count_nonzero(values == 0))
        total += values.size
    return zeros / total if total else float("nan")


def _weights(program: Program) -> dict[str, np.ndarray]:
    held = {
        op.outputs[0].name: op.arguments["val"][0] for op in program.operations if op.kind == "const"
    }
    return {
        name: constant.array
        for _, name in weight_uses(program)
        if isinstance(constant := held.get(name), Constant)
    }


def _half(float_file: Path) -> Package:
    """The program in float16, inputs and outputs float32, by coremltools' own pass."""
    package = read_package(float_file)
    program_of(package, float_file)                        # says what is wrong before coremltools trips over it
    try:
        program = private.program_of(package.model, float_file / "Data" / WEIGHTS_FOLDER)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as err:
        raise ModelUnreadable(float_file, f"coremltools cannot read its program ({err})") from err
    return compacted(converted(program, source="milinternal", half=True))    # equal weights are one from here on


def _compressed(half: Package, dest: Path, way: _Way) -> Made:
    program = read_program(half.model, half.weights)
    replaced: dict[str, Compressed] = {}
    alone: list[str] = []
    for name, weight in _compressible(program, alone).items():
        candidate = way.store(weight)
        if candidate.bytes + FORM_BYTES < weight.float_bytes:
            replaced[name] = candidate
        else:
            alone.append(f"{weight.layer} ({weight.values.size} weights: smaller as they are)")
    block = main_block(half.model)
    operations: list[MIL_pb2.Operation] = []
    for op in block.operations:
        held = replaced.get(op.outputs[0].name)
        operations += [op] if held is None else held.operations
    copies = [type(op).FromString(op.SerializeToString()) for op in operations]
    del block.operations[:]
    block.operations.extend(copies)
    notes = [f"Left in float16: {'; '.join(alone)}."] if alone else []
    if not replaced:
        notes.append("Nothing in this package is compressed.")
    choices = {"activations": "float16", "weights": way.weights, "rounding": _BALANCED}
    forms = sorted({c.how for c in replaced.values() if c.how})
    return _finish(half, dest, choices | ({"tables": " or ".join(forms)} if forms else {}), notes)


def _compressible(program: Program, alone: list[str]) -> dict[str, Weight]:
    """The weights that are float16 constants, by name; what is left in another type goes to `alone`."""
    values = _weights(program)
    found: dict[str, Weight] = {}
    for op, name in weight_uses(program):
        if name in found or name not in values:
            continue
        if values[name].dtype != np.float16:
            alone.append(f"{op.name} ({values[name].dtype}: beyond float16)")
            continue
        if not np.isfinite(values[name]).all():
            alone.append(f"{op.name} (has weights that float16 cannot hold)")
            continue
        found[name] = Weight(name, op.name, values[name].astype(np.float64), _channel_axis(op, name, values[name].ndim))
    return found


def _channel_axis(op: Operation, name: str, rank: int) -> int:
    """The axis along which the weights of one output lie apart."""
    if op.kind == "conv_transpose":
        return 1
    if op.kind == "einsum":
        return rank - 1
    if op.kind == "matmul":
        right = name in op.arguments["y"]
        flag = op.arguments.get("transpose_y" if right else "transpose_x", ())
        swapped = any(isinstance(f, Constant) and bool(f.array) for f in flag)
        return rank - 1 if right != swapped else rank - 2
    return 0


def _finish(package: Package, dest: Path, choices: Mapping[str, str], notes: list[str]) -> Made:
    final = compacted(package)
    write_package(final.model, final.weights.raw, dest)
    floats = [
        f"{op.name} ({op.kind})"
        for op in read_program(final.model, final.weights).operations
        if op.kind not in ("const", "cast", "identity") and any(p.type.dtype == "float32" for p in op.outputs)
    ]
    if floats:
        notes = [*notes, f"Computed in float32, since float16 cannot hold their numbers: {', '.join(floats)}."]
    return Made(path=dest, choices=dict(choices), notes=tuple(notes))


def _program(file: Path) -> Program:
    return program_of(read_package(file), file)
