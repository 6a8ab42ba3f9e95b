"""Reductions over declared axes; sums are kept in float32."""

from collections.abc import Callable

import numpy as np
import scipy.special

from mlopt_coreml.mil.kernels.registry import Call, Tensor, kernel

_REDUCE: dict[str, Callable[..., Tensor]] = {
    "reduce_sum": np.sum,
    "reduce_mean": np.mean,
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_l1_norm": lambda x, **kw: np.sum(np.abs(x), **kw),
    "reduce_l2_norm": lambda x, **kw: np.sqrt(np.sum(np.square(x), **kw)),
    "reduce_sum_square": lambda x, **kw: np.sum(np.square(x), **kw),
    "reduce_log_sum": lambda x, **kw: np.log(np.sum(x, **kw)),
    "reduce_log_sum_exp": scipy.special.logsumexp,
}


@kernel(*_REDUCE)
def reduce(call: Call) -> Tensor:
    reduced = _REDUCE[call.operation.kind](call["x"], axis=call.axes("axes"), keepdims=call.flag("keep_dims"))
    return np.asarray(reduced)


@kernel("reduce_argmax", "reduce_argmin")
def argument(call: Call) -> Tensor:
    """The position of the first largest or smallest number."""
    find = np.argmax if call.operation.kind == "reduce_argmax" else np.argmin
    axis = call.axis("axis", -1)
    found = find(call["x"], axis=axis)
    return np.expand_dims(found, axis) if call.flag("keep_dims") else found


@kernel("topk")
def topk(call: Call) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) numbers in order, and where they stood; ties keep their order."""
    x, axis, k = call["x"], call.axis("axis", -1), call.integer("k", 1)
    order = _order(x, axis, ascending=call.flag("ascending"))
    order = np.take(order, np.arange(k), axis=axis)
    return np.take_along_axis(x, order, axis=axis), order


@kernel("argsort")
def argsort(call: Call) -> Tensor:
    return _order(call["x"], call.axis("axis", -1), ascending=call.flag("ascending"))


def _order(x: Tensor, axis: int, *, ascending: bool) -> Tensor:
    return np.argsort(x if ascending else -x, axis=axis, kind="stable")


@kernel("cumsum")
def cumsum(call: Call) -> Tensor:
    axis, backwards = call.axis("axis", 0), call.flag("reverse")
    x = np.flip(call["x"], axis) if backwards else call["x"]
    total = np.cumsum(x, axis=axis, dtype=x.dtype)
    if call.flag("exclusive"):
        total = total - x
    return np.flip(total, axis) if backwards else total
