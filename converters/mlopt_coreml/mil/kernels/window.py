"""Sliding windows over the last axes: padding rules and strided views, shared by convolution and pooling."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mlopt_coreml.mil.kernels.registry import Call, NotSupported

Pads = list[tuple[int, int]]


def padding(
    call: Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Pads:
    """Elements to add before and after each spatial axis, by the operation's `pad_type`.

    "same" gives ceil(size / stride) outputs and puts the odd element after, "same_lower" before.
    """
    kind = call.text("pad_type", "valid").lower()
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        flat = call.integers("pad", [0] * (2 * len(sizes)))
        return list(zip(flat[0::2], flat[1::2], strict=True))
    if kind not in ("same", "same_lower"):
        raise NotSupported(f"pad_type {kind}")
    pads = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = same_padding(size, k, stride, dilation)
        small, large = total // 2, total - total // 2
        pads.append((small, large) if kind == "same" else (large, small))
    return pads


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Elements to add in all so that there are ceil(size / stride) windows.

    >>> same_padding(5, kernel=3, stride=2, dilation=1)
    2
    """
    outputs = -(-size // stride)
    return max(0, (outputs - 1) * stride + (kernel - 1) * dilation + 1 - size)


def padded(x: np.ndarray, pads: Pads, value: float = 0.0) -> np.ndarray:
    """`x` with its last axes padded; no copy where there is nothing to add."""
    if not any(before or after for before, after in pads):
        return x
    lead = x.ndim - len(pads)
    shape = [*x.shape[:lead], *(n + b + a for n, (b, a) in zip(x.shape[lead:], pads, strict=True))]
    out = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    inside: tuple[Any, ...] = tuple(slice(b, b + n) for n, (b, _) in zip(x.shape[lead:], pads, strict=True))
    out[(..., *inside)] = x
    return out


def taps(
    x: np.ndarray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], outputs: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """For each position in the kernel: the position, and a view of `x` [..., *outputs] of what it meets."""
    for position in itertools.product(*(range(k) for k in kernel)):
        cut: tuple[Any, ...] = tuple(
            slice(p * d, p * d + (o - 1) * s + 1, s)
            for p, d, s, o in zip(position, dilations, strides, outputs, strict=True)
        )
        yield position, x[(..., *cut)]
