"""Values that come from shapes and settings alone."""

import numpy as np

from mlopt_coreml.mil.kernels.registry import Call, Tensor, kernel


@kernel("shape")
def shape(call: Call) -> Tensor:
    """The declared shape: the program is written for one sample."""
    return np.array([call.shape("x")], np.int32)


@kernel("fill")
def fill(call: Call) -> Tensor:
    value = call.setting("value", np.float32(0))
    return np.full((1, *call.output.shape), value.reshape(-1)[0])


@kernel("fill_like")
def fill_like(call: Call) -> Tensor:
    return np.full((1, *call.output.shape), call.setting("value", np.float32(0)).reshape(-1)[0])


@kernel("range_1d")
def range_1d(call: Call) -> Tensor:
    start, step = call.setting("start"), call.setting("step")
    count = call.output.shape[0]
    return (start + step * np.arange(count)).astype(np.asarray(start).dtype)[None]


@kernel("one_hot")
def one_hot(call: Call) -> Tensor:
    indices, depth = call["indices"], call.integer("one_hot_vector_size")
    axis = call.integer("axis", -1)
    rank = call.rank("indices") + 1
    place = (axis + rank if axis < 0 else axis) + 1
    shape = [1] * (rank + 1)
    shape[place] = depth
    hot = np.expand_dims(indices, place) == np.arange(depth).reshape(shape)
    on, off = (call.setting(p, v).reshape(-1)[0] for p, v in (("on_value", 1), ("off_value", 0)))
    return np.where(hot, on, off)
