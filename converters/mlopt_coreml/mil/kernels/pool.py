"""Pooling over the spatial axes, channels first."""

import numpy as np

from mlopt_coreml.mil.kernels.registry import Call, Tensor, kernel
from mlopt_coreml.mil.kernels.window import padded, padding, taps


class _Windows:
    """The geometry of one pooling operation."""

    def __init__(self, call: Call) -> None:
        self.x = call["x"]
        self.sizes = self.x.shape[3:]
        spatial = len(self.sizes)
        self.kernel = call.integers("kernel_sizes")
        self.strides = call.integers("strides", [1] * spatial)
        self.ones = [1] * spatial
        self.outputs = call.output.shape[2:]
        self.pads = padding(call, self.sizes, self.kernel, self.strides, self.ones)
        # with ceil_mode the last window may hang over the declared padding
        self.overhang = [
            max(0, (o - 1) * s + k - n - b - a)
            for o, s, k, n, (b, a) in zip(self.outputs, self.strides, self.kernel, self.sizes, self.pads, strict=True)
        ]

    def over(self, x: Tensor, value: float) -> list[Tensor]:
        """The views that each kernel position meets, outside filled with `value`."""
        pads = [(b, a + extra) for (b, a), extra in zip(self.pads, self.overhang, strict=True)]
        return [met for _, met in taps(padded(x, pads, value), self.kernel, self.strides, self.ones, self.outputs)]

    def summed(self, x: Tensor) -> Tensor:
        first, *rest = self.over(x, 0.0)
        total = first.astype(np.float32)
        for met in rest:
            total += met
        return total

    def counts(self, *, padding_counts: bool) -> Tensor:
        """How many elements each window holds, [*outputs]."""
        sizes = [
            n + b + a if padding_counts else n for n, (b, a) in zip(self.sizes, self.pads, strict=True)
        ]
        pads = [
            (0, extra) if padding_counts else (b, a + extra)
            for (b, a), extra in zip(self.pads, self.overhang, strict=True)
        ]
        ones = padded(np.ones(sizes, np.float32), pads)
        total = np.zeros(self.outputs, np.float32)
        for _, met in taps(ones, self.kernel, self.strides, self.ones, self.outputs):
            total += met
        return total


@kernel("max_pool")
def max_pool(call: Call) -> Tensor:
    first, *rest = _Windows(call).over(call["x"], -np.inf)
    y = first.copy()
    for met in rest:
        np.maximum(y, met, out=y)
    return y


@kernel("avg_pool")
def avg_pool(call: Call) -> Tensor:
    windows = _Windows(call)
    counts = windows.counts(padding_counts=not call.flag("exclude_padding_from_average"))
    return windows.summed(windows.x) / counts


@kernel("l2_pool")
def l2_pool(call: Call) -> Tensor:
    """The square root of the sum of squares in each window."""
    windows = _Windows(call)
    return np.sqrt(windows.summed(np.square(windows.x)))
