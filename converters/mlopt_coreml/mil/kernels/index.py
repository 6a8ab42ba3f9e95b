"""Gathering by index. Negative indices count from the end, as MIL says."""

import numpy as np

from mlopt_coreml.mil.kernels.registry import Call, NotSupported, Result, Tensor, kernel, moved, per_sample


@kernel("gather")
def gather(call: Call) -> Result:
    x, indices = call["x"], call["indices"]
    if call.integer("batch_dims", 0):
        return _gather_with_batch(call)
    axis = call.axis("axis", 0)
    if indices.shape[0] == 1:
        return np.take(x, indices[0], axis=axis)
    if x.shape[0] == 1:                                    # a table that all samples share, e.g. an embedding
        return np.moveaxis(np.take(x[0], indices, axis=axis - 1), axis - 1, 0)
    return _gather_each(call)


@per_sample
def _gather_each(call: Call) -> Tensor:
    axis = int(call["axis"]) if "axis" in call else 0
    return np.take(call["x"], call["indices"], axis=axis)


@per_sample
def _gather_with_batch(call: Call) -> Tensor:
    x, indices = call["x"], call["indices"]
    dims = int(call["batch_dims"])
    axis = moved(int(call["axis"]) if "axis" in call else 0, x.ndim) - 1
    shared = x.shape[:dims]
    rows = [
        np.take(x[place], indices[place], axis=axis - dims) for place in np.ndindex(*shared)
    ]
    return np.stack(rows).reshape(*shared, *rows[0].shape)


@kernel("gather_along_axis")
def gather_along_axis(call: Call) -> Tensor:
    x, indices = call["x"], call["indices"]
    samples = max(x.shape[0], indices.shape[0])
    x, indices = (np.broadcast_to(t, (samples, *t.shape[1:])) for t in (x, indices))
    return np.take_along_axis(x, indices, axis=call.axis("axis", 0))


@kernel("gather_nd")
@per_sample
def gather_nd(call: Call) -> Tensor:
    x, indices = call["x"], call["indices"]
    dims = int(call["batch_dims"]) if "batch_dims" in call else 0
    if dims == 0:
        return x[tuple(np.moveaxis(indices, -1, 0))]
    shared = x.shape[:dims]
    rows = [x[place][tuple(np.moveaxis(indices[place], -1, 0))] for place in np.ndindex(*shared)]
    return np.stack(rows).reshape(*shared, *rows[0].shape)


@kernel("non_zero")
def non_zero(call: Call) -> Tensor:
    raise NotSupported("its output's size depends on the input")
