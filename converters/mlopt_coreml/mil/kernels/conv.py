"""Convolutions, channels first: columns and one matrix product, or tap by tap where channels stand alone."""

from typing import Any

import numpy as np

from mlopt_coreml.mil.kernels.registry import Call, NotSupported, Tensor, kernel
from mlopt_coreml.mil.kernels.window import padded, padding, same_padding, taps

_COLUMN_BYTES = 4 << 20    # columns of a few samples at a time stay in the cache


@kernel("conv")
def conv(call: Call) -> Tensor:
    x = call["x"]
    weight = call.setting("weight")                            # [out, in / groups, *kernel]
    samples, batch, channels, *sizes = x.shape
    spatial = len(sizes)
    strides = call.integers("strides", [1] * spatial)
    dilations = call.integers("dilations", [1] * spatial)
    groups = call.integer("groups", 1)
    outputs = call.output.shape[2:]
    pads = padding(call, sizes, weight.shape[2:], strides, dilations)
    x = padded(x.reshape(samples * batch, channels, *sizes), pads)
    if groups == channels and weight.shape[1] == 1:
        y = _depthwise(x, weight, strides, dilations, outputs)
    else:
        y = _grouped(x, weight, strides, dilations, outputs, groups=groups)
    if "bias" in call:
        y += call.setting("bias").reshape(-1, *(1,) * spatial)
    return y.reshape(samples, batch, weight.shape[0], *outputs)


def _depthwise(
    x: Tensor, weight: Tensor, strides: list[int], dilations: list[int], outputs: tuple[int, ...]
) -> Tensor:
    """Each channel with its own kernels: x [N, C, *sizes], weight [C * multiplier, 1, *kernel]."""
    count, channels = x.shape[:2]
    multiplier = weight.shape[0] // channels
    y = np.zeros((count, channels, multiplier, *outputs), np.float32)
    product = np.empty_like(y)
    for position, met in taps(x, weight.shape[2:], strides, dilations, outputs):
        here: tuple[Any, ...] = (slice(None), 0, *position)
        factor = weight[here].reshape(channels, multiplier, *(1,) * len(outputs))
        y += np.multiply(met[:, :, None], factor, out=product)
    return y.reshape(count, channels * multiplier, *outputs)


def _grouped(
    x: Tensor, weight: Tensor, strides: list[int], dilations: list[int], outputs: tuple[int, ...], *, groups: int
) -> Tensor:
    """Groups of channels: x [N, C, *sizes], weight [out, C / groups, *kernel] -> [N, out, *outputs]."""
    count, channels = x.shape[:2]
    out, each, *sizes = weight.shape
    places = int(np.prod(outputs))
    window = int(np.prod(sizes))
    # columns are laid out [kernel position, channel], so that a position is filled by one copy
    matrix = np.moveaxis(weight.reshape(groups, out // groups, each, window), 3, 2).reshape(groups, out // groups, -1)
    matrix = np.ascontiguousarray(matrix)
    y = np.empty((count, groups, out // groups, places), np.float32)
    if window == 1 and all(s == 1 for s in strides):
        np.matmul(matrix, x.reshape(count, groups, each, places), out=y)
        return y.reshape(count, out, *outputs)
    step = max(1, _COLUMN_BYTES // max(1, 4 * channels * window * places))
    columns = np.empty((min(step, count), groups, window, each, *outputs), np.float32)
    for start in range(0, count, step):
        part = x[start : start + step]
        part = part.reshape(len(part), groups, each, *part.shape[2:])
        filled = columns[: len(part)]
        for i, (_, met) in enumerate(taps(part, sizes, strides, dilations, outputs)):
            filled[:, :, i] = met
        np.matmul(matrix, filled.reshape(len(part), groups, window * each, places), out=y[start : start + step])
    return y.reshape(count, out, *outputs)


@kernel("conv_transpose")
def conv_transpose(call: Call) -> Tensor:
    x = call["x"]
    weight = call.setting("weight")                            # [in, out / groups, *kernel]
    samples, batch, channels, *sizes = x.shape
    spatial = len(sizes)
    kernel_sizes = weight.shape[2:]
    strides = call.integers("strides", [1] * spatial)
    dilations = call.integers("dilations", [1] * spatial)
    groups = call.integer("groups", 1)
    outputs = call.output.shape[2:]
    out = weight.shape[1] * groups
    before = _cut_before(call, outputs, kernel_sizes, strides, dilations)

    # every input element spreads its kernel over the uncropped canvas
    full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(sizes, strides, kernel_sizes, dilations, strict=True)]
    canvas = [max(f, b + o) for f, b, o in zip(full, before, outputs, strict=True)]
    y = np.zeros((samples * batch, out, *canvas), np.float32)
    flat = x.reshape(samples * batch, groups, channels // groups, -1)
    for position, met in taps(y, kernel_sizes, strides, dilations, sizes):
        here: tuple[Any, ...] = (slice(None), slice(None), *position)
        factor = weight[here].reshape(groups, channels // groups, -1)
        spread = np.matmul(np.swapaxes(factor, 1, 2), flat)
        np.add(met, spread.reshape(samples * batch, out, *sizes), out=met)
    kept: tuple[Any, ...] = (..., *(slice(b, b + o) for b, o in zip(before, outputs, strict=True)))
    y = y[kept]
    if "bias" in call:
        y = y + call.setting("bias").reshape(-1, *(1,) * spatial)
    return y.reshape(samples, batch, out, *outputs)


def _cut_before(
    call: Call, outputs: tuple[int, ...], kernel: tuple[int, ...], strides: list[int], dilations: list[int]
) -> list[int]:
    """How much of the canvas is cut off before the output, as the forward convolution would have padded."""
    kind = call.text("pad_type", "valid").lower()
    if kind == "valid":
        return [0] * len(outputs)
    if kind == "custom":
        return call.integers("pad", [0] * (2 * len(outputs)))[0::2]
    if kind != "same":
        raise NotSupported(f"pad_type {kind}")
    return [same_padding(o, k, s, d) // 2 for o, k, s, d in zip(outputs, kernel, strides, dilations, strict=True)]
