"""Where a flat graph normalises by stored statistics, and what its first operations say about the range of an input."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt.frameworks.keras.graph import PASSES_ON, FlatGraph

FUSED = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")


@dataclass(frozen=True, kw_only=True)
class Site:
    """One batch normalisation: the tensor that it normalises, and the mean and variance that it expects of it.

    `mean` and `variance` have the tensor's rank, with size 1 on each axis that the statistics are taken over.
    """

    tensor: Any
    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Range:
    """Where values of an input lie: around `center`, `spread` being a standard deviation; scalars or one a channel."""

    center: np.ndarray
    spread: np.ndarray
    low: float = float("-inf")
    high: float = float("inf")


def normalisations(flat: FlatGraph) -> list[Site]:
    """Each batch normalisation in the graph, fused or spelt out in arithmetic, in the graph's order."""
    fixed = _constants(flat)
    found: list[tuple[Any, Any, Any, int | None, int]] = []
    for op in flat.graph.get_operations():
        if op.type in FUSED and not op.get_attr("is_training"):
            channel = 1 if op.get_attr("data_format") == b"NCHW" else 3
            found.append((op.inputs[0], op.inputs[3], op.inputs[4], channel, 1))
        elif op.type == "Rsqrt" and op.name in fixed:
            found.extend(_spelt_out(op, fixed))
    wanted = [tensor for _, mean, variance, _, _ in found for tensor in (mean, variance)]
    values = values_of(flat, wanted)
    sites = []
    for (tensor, _, _, axis, sign), mean, variance in zip(found, values[::2], values[1::2], strict=True):
        rank = tensor.shape.rank
        if rank and mean.size == variance.size:
            shape = [1] * rank
            if axis is None:
                shape[rank - mean.ndim:] = mean.shape
            else:
                shape[axis] = mean.size
            sites.append(Site(tensor=tensor, mean=sign * mean.reshape(shape), variance=variance.reshape(shape)))
    return sites


def stated_range(flat: FlatGraph, name: str) -> Range | None:
    """What the network's own first steps say of an input: a Normalization's statistics, a Rescaling's bounds."""
    fixed = _constants(flat)
    tensor = flat.inputs[name]
    scale, offset = np.ones(1), np.zeros(1)               # so far: scale * input + offset
    stated = None
    while True:
        users = [op for op in tensor.consumers() if op.type not in ("Shape", "NoOp")]
        if len(users) != 1:
            break
        op = users[0]
        others = [t for t in op.inputs if t is not tensor]
        if op.type in PASSES_ON and op.type not in ("Transpose", "Reshape"):
            tensor = op.outputs[0]
            continue
        arithmetic = op.type in ("Sub", "RealDiv", "Mul", "AddV2", "Add")
        if not arithmetic or len(others) != 1 or others[0].op.name not in fixed:
            break
        value = values_of(flat, others)[0].astype(np.float64)
        if op.type in ("Sub", "RealDiv") and op.inputs[1] is tensor:
            break                                          # the constant comes first: no scaling of the input
        if op.type in ("Mul", "RealDiv"):
            factor = value if op.type == "Mul" else 1 / value
            scale, offset = scale * factor, offset * factor
        else:
            offset = offset + (-value if op.type == "Sub" else value)
        stated = op.type
        tensor = op.outputs[0]
    if stated is None or not np.all(np.isfinite(scale)) or np.any(scale == 0):
        return None
    return _range_of(scale, offset)


def values_of(flat: FlatGraph, tensors: Sequence[Any]) -> list[np.ndarray]:
    """The values of tensors that depend on no input."""
    if not tensors:
        return []
    return [value.numpy() for value in flat.function.prune([], list(tensors))()]


def _range_of(scale: np.ndarray, offset: np.ndarray) -> Range:
    """The inputs for which `scale * input + offset` fills -1..1 or 0..1, or has mean 0 and deviation 1.

    One number for all channels with an offset of 0 or -1 is a Rescaling; anything else is taken for a Normalization.
    """
    if scale.size == 1 and offset.size == 1 and float(offset.flat[0]) in (0.0, -1.0):
        low, high = sorted((0.0, float((1 - offset.flat[0]) / scale.flat[0])))
        return Range(center=np.array((low + high) / 2), spread=np.array((high - low) / 4), low=low, high=high)
    return Range(center=(-offset / scale).reshape(-1), spread=np.abs(1 / scale).reshape(-1))


def _constants(flat: FlatGraph) -> set[str]:
    """Names of the operations that depend on no input."""
    varying: set[str] = {tensor.op.name for tensor in flat.inputs.values()}
    fixed: set[str] = set()
    for op in flat.graph.get_operations():
        if op.name in varying or op.type == "Placeholder" or any(t.op.name in varying for t in op.inputs):
            varying.add(op.name)
        elif all(t.op.name in fixed for t in op.inputs):
            fixed.add(op.name)
        else:
            varying.add(op.name)                           # out of order, as only loops are: be careful
    return fixed


def _spelt_out(rsqrt: Any, fixed: set[str]) -> Iterable[tuple[Any, Any, Any, int | None, int]]:
    """Sites of x * m + (beta - mean * m), m = gamma / sqrt(variance + epsilon), as tf.nn.batch_normalization has it."""
    add = rsqrt.inputs[0].op
    if add.type not in ("AddV2", "Add"):
        return
    variance = max(add.inputs, key=lambda tensor: tensor.shape.num_elements() or 0)
    factor = rsqrt.outputs[0]
    scaled = [op for op in factor.consumers() if op.type == "Mul" and op.name in fixed]
    varying = [op for op in factor.consumers() if op.type == "Mul" and op.name not in fixed]
    if not varying and len(scaled) == 1:                   # by gamma
        factor = scaled[0].outputs[0]
        scaled = [op for op in factor.consumers() if op.type == "Mul" and op.name in fixed]
        varying = [op for op in factor.consumers() if op.type == "Mul" and op.name not in fixed]
    if not varying or len(scaled) != 1:
        return
    mean = next(tensor for tensor in scaled[0].inputs if tensor is not factor)
    sign = -1 if mean.op.type == "Neg" else 1
    for op in varying:
        yield next(tensor for tensor in op.inputs if tensor is not factor), mean, variance, None, sign


def rows_looked_up(flat: FlatGraph, name: str) -> int | None:
    """How many rows the smallest table has that an input of whole numbers indexes; None where it indexes none."""
    pending, rows = [flat.inputs[name]], []
    while pending:
        for op in pending.pop().consumers():
            if op.type in ("GatherV2", "Gather", "ResourceGather"):
                rows.append(op.inputs[0].shape[0])
            elif op.type in PASSES_ON:
                pending.extend(op.outputs)
    return min((size for size in rows if size), default=None)
