"""How a kernel sees its operation, and the table of kernels.

Core ML programs are written for a batch of 1. To run many samples at once, every tensor here carries one leading axis
more than its declared shape: the sample axis, of size N, or 1 where the value is the same for all samples (a constant).
Kernels broadcast over it, so that reshapes, transposes and concatenations which bake in the batch of 1 stay correct.
A kernel that mixes whole tensors is marked `per_sample`: it sees declared shapes and is run once for each sample.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mlopt_coreml.mil.program import Operation, TensorType

Tensor = np.ndarray
Result = np.ndarray | Sequence[np.ndarray]


class NotSupported(Exception):
    """An operation with settings that have no reference semantics here; the message says which."""


@dataclass(frozen=True)
class Call:
    """One operation with its argument values; `values` holds a list for each parameter."""

    operation: Operation
    values: Mapping[str, list[Tensor]]
    types: Mapping[str, list[TensorType]]

    def __contains__(self, parameter: str) -> bool:
        return parameter in self.values

    def __getitem__(self, parameter: str) -> Tensor:
        """The tensor, with its sample axis."""
        return self.values[parameter][0]

    def optional(self, parameter: str) -> Tensor | None:
        return self.values[parameter][0] if parameter in self.values else None

    def all(self, parameter: str) -> list[Tensor]:
        return self.values[parameter]

    def rank(self, parameter: str) -> int:
        """Of the declared shape, without the sample axis."""
        return len(self.types[parameter][0].shape)

    def shape(self, parameter: str) -> tuple[int, ...]:
        return self.types[parameter][0].shape

    @property
    def output(self) -> TensorType:
        return self.operation.outputs[0].type

    def setting(self, parameter: str, default: ArrayLike | None = None) -> Tensor:
        """A value that must be the same for all samples, in its declared shape; or the default, if there is one."""
        if parameter not in self.values and default is not None:
            return np.asarray(default)
        value = self.values[parameter][0]
        if value.shape[0] != 1:
            raise NotSupported(f"its {parameter} depends on the input")
        return value[0]

    def number(self, parameter: str, default: float = 0.0) -> float:
        return float(self.setting(parameter, default).reshape(-1)[0])

    def integer(self, parameter: str, default: int = 0) -> int:
        return int(self.setting(parameter, default).reshape(-1)[0])

    def integers(self, parameter: str, default: Sequence[int] = ()) -> list[int]:
        return [int(v) for v in self.setting(parameter, default).reshape(-1)]

    def flag(self, parameter: str, default: bool = False) -> bool:
        return bool(self.setting(parameter, default).reshape(-1)[0])

    def flags(self, parameter: str, default: Sequence[bool]) -> list[bool]:
        return [bool(v) for v in self.setting(parameter, default).reshape(-1)]

    def text(self, parameter: str, default: str = "") -> str:
        return str(self.setting(parameter, default).reshape(-1)[0])

    def axis(self, parameter: str, default: int, *, of: str = "x") -> int:
        """An axis of the declared shape, made positive and moved behind the sample axis."""
        return moved(self.integer(parameter, default), self.rank(of))

    def axes(self, parameter: str, *, of: str = "x") -> tuple[int, ...]:
        """Several axes, all of them where the parameter is absent or empty."""
        rank = self.rank(of)
        return tuple(moved(a, rank) for a in self.integers(parameter) or range(rank))

    def broadcast(self, *parameters: str) -> list[Tensor]:
        """Tensors of equal rank: ones are put between the sample axis and the declared shape."""
        rank = max(self.rank(p) for p in parameters)
        return [widened(self[p], rank) for p in parameters]


def moved(axis: int, rank: int) -> int:
    """The position of a declared axis once the sample axis stands before it.

    >>> moved(-1, 4), moved(0, 4)
    (4, 1)
    """
    return (axis + rank if axis < 0 else axis) + 1


def widened(tensor: Tensor, rank: int) -> Tensor:
    missing = rank + 1 - tensor.ndim
    return tensor.reshape(tensor.shape[:1] + (1,) * missing + tensor.shape[1:]) if missing > 0 else tensor


Kernel = Callable[[Call], Result]
KERNELS: dict[str, Kernel] = {}


def kernel(*kinds: str) -> Callable[[Kernel], Kernel]:
    """Register a kernel for these kinds of operation."""

    def register(function: Kernel) -> Kernel:
        for kind in kinds:
            assert kind not in KERNELS, kind
            KERNELS[kind] = function
        return function

    return register


def per_sample(function: Kernel) -> Kernel:
    """Run a kernel that is written for declared shapes once for each sample, and stack what it returns."""

    @functools.wraps(function)
    def each(call: Call) -> Result:
        samples = max(v.shape[0] for held in call.values.values() for v in held)
        results = []
        for i in range(samples):
            one = {k: [v[min(i, v.shape[0] - 1)] for v in held] for k, held in call.values.items()}
            result = function(Call(call.operation, one, call.types))
            results.append(result if isinstance(result, (tuple, list)) else (result,))
        return [np.stack(parts) for parts in zip(*results, strict=True)]

    return each
