"""Moving numbers without changing them. Declared shapes are fixed, so most targets are read from the output's type."""

import numpy as np

from mlopt_coreml.mil.kernels.registry import Call, NotSupported, Tensor, kernel, moved, per_sample
from mlopt_coreml.mil.kernels.window import padded


@kernel("reshape", "squeeze", "expand_dims", "flatten2d", "reshape_like")
def reshape(call: Call) -> Tensor:
    x = call["x"]
    return x.reshape(x.shape[0], *call.output.shape)


@kernel("transpose")
def transpose(call: Call) -> Tensor:
    rank = call.rank("x")
    return call["x"].transpose(0, *(moved(p, rank) for p in call.integers("perm")))


@kernel("concat")
def concat(call: Call) -> Tensor:
    values = _equal_samples(call.all("values"))
    axis = call.axis("axis", 0, of="values")
    if not call.flag("interleave"):
        return np.concatenate(values, axis=axis)
    stacked = np.stack(values, axis=axis + 1)
    return stacked.reshape(stacked.shape[0], *call.output.shape)


@kernel("stack")
def stack(call: Call) -> Tensor:
    rank = call.rank("values") + 1
    return np.stack(_equal_samples(call.all("values")), axis=moved(call.integer("axis"), rank))


def _equal_samples(values: list[Tensor]) -> list[Tensor]:
    samples = max(v.shape[0] for v in values)
    return [np.broadcast_to(v, (samples, *v.shape[1:])) for v in values]


@kernel("split")
def split(call: Call) -> list[Tensor]:
    axis = call.axis("axis", 0)
    sizes = [port.type.shape[axis - 1] for port in call.operation.outputs]
    return np.split(call["x"], np.cumsum(sizes)[:-1], axis=axis)


@kernel("slice_by_index")
def slice_by_index(call: Call) -> Tensor:
    rank = call.rank("x")
    begin, end = call.integers("begin"), call.integers("end")
    stride = call.integers("stride", [1] * rank)
    begin_mask, end_mask, squeeze = (
        call.flags(mask, [False] * rank) for mask in ("begin_mask", "end_mask", "squeeze_mask")
    )
    cut: list[slice | int] = [slice(None)]
    for i in range(rank):
        first, last = None if begin_mask[i] else begin[i], None if end_mask[i] else end[i]
        cut.append((first or 0) if squeeze[i] else slice(first, last, stride[i]))
    return call["x"][tuple(cut)]


@kernel("slice_by_size")
def slice_by_size(call: Call) -> Tensor:
    """From `begin`, as many as the output's declared shape says (a size of -1 means to the end)."""
    cut = [slice(None)]
    for start, length, size in zip(call.integers("begin"), call.output.shape, call.shape("x"), strict=True):
        first = start + size if start < 0 else start
        cut.append(slice(first, first + length))
    return call["x"][tuple(cut)]


@kernel("pad")
def pad(call: Call) -> Tensor:
    """The last axes of x; "reflect" leaves the edge out, "replicate" repeats it."""
    flat, mode = call.integers("pad"), call.text("mode", "constant")
    pads = list(zip(flat[0::2], flat[1::2], strict=True))
    if mode == "constant":
        return padded(call["x"], pads, call.number("constant_val"))
    names = {"reflect": "reflect", "replicate": "edge"}
    if mode not in names:
        raise NotSupported(f"mode {mode}")
    x = call["x"]
    return np.pad(x, [(0, 0)] * (x.ndim - len(pads)) + pads, mode=names[mode])   # type: ignore[call-overload]


@kernel("tile")
def tile(call: Call) -> Tensor:
    return np.tile(call["x"], (1, *call.integers("reps")))


@kernel("reverse")
def reverse(call: Call) -> Tensor:
    return np.flip(call["x"], axis=call.axes("axes"))


@kernel("reverse_sequence")
@per_sample
def reverse_sequence(call: Call) -> Tensor:
    y = call["x"].copy()
    batch_axis, seq_axis = (int(call.values[p][0]) if p in call else 0 for p in ("batch_axis", "seq_axis"))
    by_row = np.moveaxis(y, (batch_axis, seq_axis), (0, 1))
    for row, length in zip(by_row, call["lengths"], strict=True):
        row[:length] = row[:length][::-1].copy()
    return y


@kernel("crop")
def crop(call: Call) -> Tensor:
    x = call["x"]
    (top, bottom), (left, right) = call.integers("crop_height"), call.integers("crop_width")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


@kernel("sliding_windows")
def sliding_windows(call: Call) -> Tensor:
    axis = call.axis("axis", 0)
    windows = np.lib.stride_tricks.sliding_window_view(call["x"], call.integer("size"), axis=axis)
    kept = np.take(windows, np.arange(0, windows.shape[axis], call.integer("stride", 1)), axis=axis)
    return np.moveaxis(kept, -1, axis + 1)


@kernel("band_part")
def band_part(call: Call) -> Tensor:
    x, lower, upper = call["x"], call.integer("lower", -1), call.integer("upper", -1)
    row, column = np.ogrid[: x.shape[-2], : x.shape[-1]]
    band = ((lower < 0) | (row - column <= lower)) & ((upper < 0) | (column - row <= upper))
    return np.where(band, x, x.dtype.type(0))


@kernel("depth_to_space")
def depth_to_space(call: Call) -> Tensor:
    """Channel = (row in block, column in block, channel), as TensorFlow lays it out."""
    return _blocks_out(call["x"], call.integer("block_size"), channel_first=False)


@kernel("pixel_shuffle")
def pixel_shuffle(call: Call) -> Tensor:
    """Channel = (channel, row in block, column in block), as PyTorch lays it out."""
    return _blocks_out(call["x"], call.integer("upscale_factor"), channel_first=True)


@kernel("space_to_depth")
def space_to_depth(call: Call) -> Tensor:
    return _blocks_in(call["x"], call.integer("block_size"), channel_first=False)


@kernel("pixel_unshuffle")
def pixel_unshuffle(call: Call) -> Tensor:
    return _blocks_in(call["x"], call.integer("downscale_factor"), channel_first=True)


def _blocks_out(x: Tensor, block: int, *, channel_first: bool) -> Tensor:
    samples, batch, channels, height, width = x.shape
    kept = channels // (block * block)
    if channel_first:
        parts = x.reshape(samples, batch, kept, block, block, height, width).transpose(0, 1, 2, 5, 3, 6, 4)
    else:
        parts = x.reshape(samples, batch, block, block, kept, height, width).transpose(0, 1, 4, 5, 2, 6, 3)
    return parts.reshape(samples, batch, kept, height * block, width * block)


def _blocks_in(x: Tensor, block: int, *, channel_first: bool) -> Tensor:
    samples, batch, channels, height, width = x.shape
    parts = x.reshape(samples, batch, channels, height // block, block, width // block, block)
    parts = parts.transpose(0, 1, 2, 4, 6, 3, 5) if channel_first else parts.transpose(0, 1, 4, 6, 2, 3, 5)
    return parts.reshape(samples, batch, channels * block * block, height // block, width // block)


@kernel("space_to_batch")
def space_to_batch(call: Call) -> Tensor:
    """[n, C, H, W] -> [n * blocks, C, H / bh, W / bw]; the place in the block is the slow part of the batch axis."""
    (bh, bw), pads = call.integers("block_shape"), call.integers("paddings")
    x = padded(call["x"], [(pads[0], pads[1]), (pads[2], pads[3])])
    samples, batch, channels, height, width = x.shape
    parts = x.reshape(samples, batch, channels, height // bh, bh, width // bw, bw).transpose(0, 4, 6, 1, 2, 3, 5)
    return parts.reshape(samples, bh * bw * batch, channels, height // bh, width // bw)


@kernel("batch_to_space")
def batch_to_space(call: Call) -> Tensor:
    (bh, bw), crops = call.integers("block_shape"), call.integers("crops")
    samples, batch, channels, height, width = call["x"].shape
    kept = batch // (bh * bw)
    parts = call["x"].reshape(samples, bh, bw, kept, channels, height, width).transpose(0, 3, 4, 5, 1, 6, 2)
    y = parts.reshape(samples, kept, channels, height * bh, width * bw)
    return y[..., crops[0] : height * bh - crops[1], crops[2] : width * bw - crops[3]]
