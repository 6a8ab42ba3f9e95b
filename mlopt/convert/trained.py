"""A trained grid, found again in an exported float file: which of its tensors and kernels are which nodes.

Works on arrays and knows no file format. Tensors are found by the values that the grid's probes give, kernels by their
steps, on which each of their weights already stands.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from mlopt.errors import MloptError
from mlopt.grid import ActivationGrid, Grid, WeightGrid

SAME = 1e-4          # of a node's span: two float runtimes differ by less, two nodes hardly ever
LEAST_TO_TELL = 16   # weights by which a factor of the whole kernel is known for sure
ON_STEP = 1e-2       # of a step: how far a float weight may be from the whole number that it stands for
SAYS = "as trained"  # of everything in a file's choices that the trained grid decided

K = TypeVar("K", bound=Hashable)


class GridMismatch(MloptError):
    """The float file is not the network that the grid was trained on; `nodes` are those that were not found."""

    def __init__(self, nodes: Sequence[str], found: str) -> None:
        self.nodes = list(nodes)
        super().__init__(
            f"the trained grid does not fit the exported file: {found}. Nothing else was put in its place; convert the "
            "model that the training saved together with this grid"
        )


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A float kernel of a file. `depthwise` allows one step for several neighbouring channels (a multiplier)."""

    values: np.ndarray
    axis: int               # of its output channels
    label: str              # of the operation that owns it, for people
    depthwise: bool = False


@dataclass(frozen=True, kw_only=True)
class OnGrid:
    """A kernel as whole numbers int8 [its shape]; real = whole * steps, one step a channel or one for all, float32."""

    node: str
    whole: np.ndarray
    steps: np.ndarray
    bits: int
    factor: float = 1.0     # of `steps` to the trained ones, where the exporter drew a number into the kernel


def affine(span: ActivationGrid) -> tuple[float, int]:
    """(scale, zero point) of the whole numbers 0..255, the very ones of `tf.quantization.fake_quant_with_min_max_vars`.

    All in float32, and a half is rounded up, as its kernel does; scale is a float32 value.

    >>> affine(ActivationGrid(low=-1.0, high=254.0)), affine(ActivationGrid(low=-0.5, high=254.5))
    ((1.0, 1), (1.0, 1))
    """
    low, high = np.float32(span.low), np.float32(span.high)
    if not high > low:
        return 1.0, 0     # it never moves: any scale stores its zero
    scale = np.maximum((high - low) / np.float32(255), np.finfo(np.float32).tiny)
    from_low = np.float32(0) - low / scale
    return float(scale), int(np.clip(np.floor(np.float64(from_low) + 0.5), 0, 255))


def nodes_of(
    tensors: Mapping[K, Sequence[np.ndarray]], nodes: Mapping[str, np.ndarray]
) -> dict[K, str]:
    """The node that each tensor is, where it is one.

    `tensors` gives values [n, ...] in every layout that the tensor may have, in the order in which the file computes
    them; `nodes` the probes' float outputs [n, ...] in the network's order. Axes of length 1 do not count. Where
    several nodes give the same values (a ReLU that clips nothing), as many tensors are paired with them in order, and
    otherwise all are the last one: what was joined to one operation ends with it.
    """
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, values in nodes.items():
        by_shape.setdefault(_squeezed(values), []).append(name)
    alike: dict[tuple[str, ...], list[K]] = {}
    for tensor, layouts in tensors.items():
        same = tuple(dict.fromkeys(
            name for name in nodes for values in layouts
            if name in by_shape.get(_squeezed(values), ()) and _equal(values, nodes[name])
        ))
        if same:
            alike.setdefault(same, []).append(tensor)
    found: dict[K, str] = {}
    for names, members in alike.items():
        pairing = names if len(names) == len(members) else (names[-1],) * len(members)
        found.update(zip(members, pairing, strict=True))
    return {tensor: found[tensor] for tensor in tensors if tensor in found}


def kernels_on(kernels: Mapping[K, Kernel], grid: Grid) -> dict[K, OnGrid]:
    """The kernels that stand on a node's steps, as whole numbers; raises `GridMismatch` for a node without one.

    A kernel that fits several nodes is the one it fits best, and among equals one that has none yet. An exporter may
    have multiplied a whole kernel by one number, as that of a hard sigmoid: its whole numbers are the trained ones.
    """
    found: dict[K, OnGrid] = {}
    fitting: set[str] = set()
    nearest: dict[str, tuple[float, str]] = {}
    taken: set[str] = set()
    # kernels of zeros fit everything: they choose last
    for key in sorted(kernels, key=lambda k: not np.any(kernels[k].values)):
        kernel = kernels[key]
        fits: list[tuple[bool, bool, OnGrid]] = []
        for node, wanted in grid.weights.items():
            one = _fit(kernel, node, wanted)
            if one is None:
                continue
            candidate, off = one
            nearest[node] = min(nearest.get(node, (np.inf, "")), (off, kernel.label))
            if off < ON_STEP:
                fitting.add(node)
                fits.append((off > ON_STEP / 10, node in taken, candidate))
        if fits:
            found[key] = min(fits, key=lambda fit: fit[:2])[2]
            taken.add(found[key].node)
    for node in (node for node in grid.weights if node not in fitting):
        for key in (key for key in kernels if key not in found):
            scaled = _multiplied(kernels[key], node, grid.weights[node])
            if scaled is not None:
                found[key] = scaled
                fitting.add(node)
                break
    lost = [node for node in grid.weights if node not in fitting]
    if lost:
        raise GridMismatch(lost, "; ".join(_why(node, grid.weights[node], nearest.get(node)) for node in lost[:5]))
    return {key: found[key] for key in kernels if key in found}


def _fit(kernel: Kernel, node: str, wanted: WeightGrid) -> tuple[OnGrid, float] | None:
    """The kernel on the node's steps, and how far its worst weight is from a step; None where channels differ."""
    channels, steps = kernel.values.shape[kernel.axis], np.asarray(wanted.steps, np.float32)
    if kernel.depthwise and len(steps) and channels % len(steps) == 0:
        steps = np.repeat(steps, channels // len(steps))
    if len(steps) not in (1, channels) or not (steps > 0).all():
        return None
    shape = [-1 if i == kernel.axis % kernel.values.ndim else 1 for i in range(kernel.values.ndim)]
    exact = kernel.values / steps.astype(np.float64).reshape(shape if len(steps) > 1 else (1,) * kernel.values.ndim)
    whole = np.rint(exact)
    limit = 2 ** (wanted.bits - 1) - 1
    off = float(np.maximum(np.abs(exact - whole), np.abs(whole) - limit).max(initial=0.0))
    whole = np.clip(whole, -limit, limit).astype(np.int8)
    return OnGrid(node=node, whole=whole, steps=steps, bits=wanted.bits), off


def _multiplied(kernel: Kernel, node: str, wanted: WeightGrid) -> OnGrid | None:
    """The kernel on the node's steps times one number, which is found by trial; None where none fits or many could."""
    unit = _fit(kernel, node, wanted)
    if unit is None or np.count_nonzero(kernel.values) < LEAST_TO_TELL:
        return None
    limit = 2 ** (wanted.bits - 1) - 1
    shape = [-1 if i == kernel.axis % kernel.values.ndim else 1 for i in range(kernel.values.ndim)]
    steps = unit[0].steps.reshape(shape if unit[0].steps.size > 1 else (1,) * kernel.values.ndim)
    peak = float(np.abs(kernel.values / steps).max())
    for most in range(limit, limit // 2, -1):       # one of these is the largest whole number, or a multiple of it
        factor = peak / most
        scaled = _fit(kernel, node, replace(wanted, steps=tuple(float(s) * factor for s in wanted.steps)))
        assert scaled is not None
        if scaled[1] < ON_STEP / 10:
            return replace(scaled[0], factor=factor)
    return None


def factor_notes(kernels: Iterable[OnGrid]) -> tuple[str, ...]:
    """A note on each kernel that holds a number of the operation behind it."""
    return tuple(
        f"the exporter multiplied the kernel of {on.node} by {on.factor:.4g}: its steps are the trained ones times that"
        for on in kernels if on.factor != 1.0
    )


def _why(node: str, wanted: WeightGrid, nearest: tuple[float, str] | None) -> str:
    if nearest is None:
        return f"no kernel has the {len(wanted.steps)} channels of {node}"
    off, label = nearest
    return f"no kernel stands on the {wanted.bits}-bit steps of {node}; the nearest, of {label}, is {off:.2g} steps off"


def _squeezed(values: np.ndarray) -> tuple[int, ...]:
    return (len(values), *(d for d in values.shape[1:] if d != 1))


def _equal(values: np.ndarray, node: np.ndarray) -> bool:
    span = max(float(node.max()), 0.0) - min(float(node.min()), 0.0) if node.size else 0.0
    return bool(np.abs(values.reshape(-1) - node.reshape(-1)).max(initial=0.0) <= SAME * span)
