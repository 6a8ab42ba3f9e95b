"""Compressed constants, opened as the device does when it loads the file.

Both generations: iOS 16 keeps flat packed bytes and a shape; iOS 18 keeps typed tensors, with tables or scales for
blocks of them.
"""

import numpy as np

from mlopt_coreml.mil.blob import unpack_bits
from mlopt_coreml.mil.kernels.registry import Call, Tensor, kernel, per_sample


@kernel("constexpr_cast")
def constexpr_cast(call: Call) -> Tensor:
    return call["source_val"].astype(np.float32)


@kernel("constexpr_affine_dequantize")
@per_sample
def affine_dequantize(call: Call) -> Tensor:
    data = call["quantized_data"].astype(np.float32)
    axis = int(call["axis"])
    shape = [1] * data.ndim
    shape[axis] = -1
    scale, zero_point = (
        np.asarray(call[p], np.float32).reshape(shape if np.ndim(call[p]) else ()) for p in ("scale", "zero_point")
    )
    return scale * (data - zero_point)


@kernel("constexpr_blockwise_shift_scale")
@per_sample
def blockwise_shift_scale(call: Call) -> Tensor:
    return shift_scale(call["data"], call["scale"], call.optional("offset"))


def shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None) -> Tensor:
    """Multiply: scale * (data - offset). `scale` has one number for each block of `data`, of the same rank."""
    whole = data.astype(np.float32)
    if offset is not None:
        whole = whole - spread(offset, data.shape).astype(np.float32)
    return spread(scale, data.shape).astype(np.float32) * whole


def spread(blocks: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Repeat each entry of `blocks` over its block, so that the result has `shape`.

    >>> spread(np.array([[1, 2]]), (2, 4)).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    for axis, size in enumerate(shape):
        if blocks.shape[axis] != size:
            blocks = np.repeat(blocks, size // blocks.shape[axis], axis=axis)
    return blocks


@kernel("constexpr_lut_to_dense")
@per_sample
def lut_to_dense(call: Call) -> Tensor:
    lut, indices = call["lut"], call["indices"]
    if "shape" not in call:
        axis = int(call["vector_axis"]) if "vector_axis" in call else 0
        return looked_up(indices, lut, axis)
    shape = tuple(int(n) for n in call["shape"])              # iOS 16
    bits = int(np.log2(lut.size))
    flat = unpack_bits(indices.astype(np.uint8).tobytes(), bits, int(np.prod(shape)))
    return lut[flat].reshape(shape)


def looked_up(indices: Tensor, lut: Tensor, vector_axis: int) -> Tensor:
    """Each block of `indices` has its table in `lut` [*blocks, entries, vector]; an entry fills a vector on an axis."""
    entries, vector = lut.shape[-2:]
    tables = np.arange(lut.size // (entries * vector)).reshape(lut.shape[:-2])
    table = spread(tables, indices.shape)
    dense = lut.reshape(-1, entries, vector)[table, indices]     # [*shape, vector]
    if vector == 1:
        return dense[..., 0]
    axis = vector_axis % indices.ndim
    dense = np.moveaxis(dense, -1, axis + 1)
    shape = list(indices.shape)
    shape[axis] *= vector
    return dense.reshape(shape)


@kernel("constexpr_sparse_to_dense")
@per_sample
def sparse_to_dense(call: Call) -> Tensor:
    data, mask = call["nonzero_data"], call["mask"]
    if "shape" in call:                                       # iOS 16
        shape = tuple(int(n) for n in call["shape"])
        mask = unpack_bits(mask.astype(np.uint8).tobytes(), 1, int(np.prod(shape))).reshape(shape)
    return filled(data, mask)


def filled(data: Tensor, mask: Tensor) -> Tensor:
    dense = np.zeros(mask.shape, data.dtype)
    dense[mask != 0] = data
    return dense


@kernel("constexpr_lut_to_sparse")
@per_sample
def lut_to_sparse(call: Call) -> tuple[Tensor, Tensor]:
    mask, lut = call["indices_mask"], call["lut"]
    axis = int(call["vector_axis"]) if "vector_axis" in call else 0
    dense = looked_up(filled(call["indices_nonzero_data"], mask), lut, axis)
    if lut.shape[-1] > 1:
        mask = np.repeat(mask, lut.shape[-1], axis=axis)
    return mask, dense[mask != 0]


@kernel("constexpr_sparse_blockwise_shift_scale")
@per_sample
def sparse_blockwise_shift_scale(call: Call) -> tuple[Tensor, Tensor]:
    mask = call["data_mask"]
    offset = call.optional("offset")
    dense = shift_scale(filled(call["nonzero_data"], mask), call["scale"], offset)
    return mask, dense[mask != 0]
