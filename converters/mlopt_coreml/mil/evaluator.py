"""Runs a program in numpy: all samples of a batch at once, in float32.

Programs in float16 are run as phones' neural engines and GPUs are understood to run them: weights and every
operation's output are float16, sums inside one operation are kept in float32. Overflow gives infinity, silently, as on
the device. Results of a real device differ in the last bits, since the order of its sums is its own.
"""

from collections.abc import Mapping

import numpy as np

from mlopt.errors import UnsupportedOps
from mlopt_coreml.mil.half import rounded_to_half
from mlopt_coreml.mil.kernels import KERNELS, Call, NotSupported
from mlopt_coreml.mil.program import Constant, Operation, Program, TensorType

TARGET = "the MIL reference evaluator"
_BATCH_BYTES = 2 << 20       # the largest value of a batch stays about this small, near the cache's size
_MOST_AT_ONCE = 256

# their outputs are numbers that their inputs held, so float16 in is float16 out without rounding
_MOVES_ONLY = frozenset({
    "relu", "relu6", "reshape", "transpose", "squeeze", "expand_dims", "flatten2d", "identity", "max_pool", "concat",
    "split", "stack", "slice_by_index", "slice_by_size", "crop", "reverse", "tile", "maximum", "minimum", "abs",
    "reduce_max", "reduce_min", "gather", "gather_nd", "gather_along_axis", "select", "pixel_shuffle",
    "pixel_unshuffle", "space_to_depth", "depth_to_space", "resize_nearest_neighbor", "upsample_nearest_neighbor",
})

Values = dict[str, np.ndarray]


def computed(value: np.ndarray, tensor: TensorType) -> np.ndarray:
    """`value` in the type that kernels compute with, rounded to what `tensor` can hold."""
    if tensor.dtype == "float16":
        return rounded_to_half(value.astype(np.float32, copy=False))
    if tensor.dtype in ("float32", "float64"):
        return value.astype(np.float32, copy=False)
    if tensor.dtype == "bool":
        return value.astype(np.bool_, copy=False)
    if tensor.dtype in ("int32", "int64"):
        return value.astype(np.int32, copy=False)
    return value


class Evaluator:
    """A program made ready: kernels found, everything that does not depend on the input computed once."""

    def __init__(self, program: Program) -> None:
        """Raises `UnsupportedOps` naming every operation that has no kernel."""
        self.program = program
        missing: dict[str, list[str]] = {}
        for op in program.operations:
            if op.kind != "const" and op.kind not in KERNELS:
                missing.setdefault(op.kind, []).append(op.name)
        if missing:
            raise UnsupportedOps(TARGET, missing, "The file is written, but nothing here can run it.")
        self._fixed: Values = {}
        self._steps: list[Operation] = []
        self._prepare()
        self._last_use = self._last_uses()

    @property
    def batch_size(self) -> int:
        """How many samples to give at once, so that no value grows beyond the cache by much."""
        largest = max((t.size for name, t in self.program.types.items() if name not in self._fixed), default=1)
        return int(np.clip(_BATCH_BYTES // (4 * max(1, largest)), 1, _MOST_AT_ONCE))

    def run(self, inputs: Mapping[str, np.ndarray], *, keep: frozenset[str] = frozenset()) -> Values:
        """`inputs` hold [N, *declared shape] by the program's names; so do the outputs, and the values in `keep`."""
        values = {p.name: computed(np.asarray(inputs[p.name]), p.type) for p in self.program.inputs}
        samples = len(next(iter(values.values())))
        kept = set(keep) | set(self.program.outputs)
        results: Values = {}
        for i, op in enumerate(self._steps):
            self._apply(op, values)
            for name in self._last_use.get(i, ()):
                if name in kept and name in values:
                    results[name] = values[name]
                values.pop(name, None)
        for name in kept - results.keys():
            results[name] = values[name] if name in values else self._fixed[name]
        return {n: np.broadcast_to(v, (samples, *v.shape[1:])) for n, v in results.items()}

    def _prepare(self) -> None:
        varying = {port.name for port in self.program.inputs}
        for op in self.program.operations:
            if op.kind == "const":
                held = op.arguments["val"][0]
                assert isinstance(held, Constant)
                self._fixed[op.outputs[0].name] = _constant(held)
            elif varying.intersection(op.names()):
                self._steps.append(op)
                varying.update(port.name for port in op.outputs)
            else:
                self._apply(op, self._fixed)

    def _last_uses(self) -> dict[int, list[str]]:
        last: dict[str, int] = {}
        for i, op in enumerate(self._steps):
            last.update((port.name, i) for port in op.outputs)
            last.update((name, i) for name in op.names())
        ends: dict[int, list[str]] = {}
        for name, i in last.items():
            if name not in self._fixed:
                ends.setdefault(i, []).append(name)
        return ends

    def _apply(self, op: Operation, values: Values) -> None:
        types = self.program.types
        arguments: dict[str, list[np.ndarray]] = {}
        declared: dict[str, list[TensorType]] = {}
        for parameter, held in op.arguments.items():
            arguments[parameter] = [
                _constant(a) if isinstance(a, Constant) else values[a] if a in values else self._fixed[a] for a in held
            ]
            declared[parameter] = [a.type if isinstance(a, Constant) else types[a] for a in held]
        try:
            with np.errstate(all="ignore"):
                result = KERNELS[op.kind](Call(op, arguments, declared))
        except NotSupported as err:
            raise UnsupportedOps(TARGET, {f"{op.kind} with {err}": [op.name]}) from err
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        exact = op.kind in _MOVES_ONLY
        for port, value in zip(op.outputs, outputs, strict=True):
            assert value.shape[1:] == port.type.shape, f"{op.kind} {op.name}: {value.shape[1:]} for {port.type.shape}"
            exact_half = exact and port.type.dtype == "float16" and value.dtype == np.float32
            values[port.name] = value if exact_half else computed(value, port.type)


def _constant(held: Constant) -> np.ndarray:
    """The constant with a sample axis of 1."""
    return computed(held.array, held.type)[None]
