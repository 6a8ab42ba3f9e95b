"""The rows that a layer's weights are multiplied with: its input, unrolled at some places."""

from typing import cast

import numpy as np

from mlopt_tflite.tables import ConvOptions, Model
from mlopt_tflite.weights import Layer

SAME = 0   # schema.Padding


def patches(model: Model, layer: Layer, value: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Up to `count` rows [n, K] of one input, K as the weights [outputs, K] of the layer lie in memory."""
    if layer.kind == "FULLY_CONNECTED":
        rows = value.reshape(-1, layer.shape[1])
        return rows if len(rows) <= count else rows[random.choice(len(rows), count, replace=False)]
    options = cast(ConvOptions, model.subgraphs[0].operators[layer.op].builtinOptions)
    return conv_patches(
        value[0], layer.shape[1:3], (options.strideH, options.strideW),
        (options.dilationHFactor, options.dilationWFactor), same=options.padding == SAME, count=count, random=random,
    )


def conv_patches(
    image: np.ndarray,
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    *,
    same: bool,
    count: int,
    random: np.random.Generator,
) -> np.ndarray:
    """`image` [H, W, C] unrolled under a kernel at up to `count` random places: [n, kernel height * width * C].

    >>> image = np.arange(9.0).reshape(3, 3, 1)
    >>> random = np.random.default_rng(0)
    >>> conv_patches(image, (3, 3), (1, 1), (1, 1), same=False, count=5, random=random).tolist()
    [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]]
    """
    taps = [np.arange(k) * d for k, d in zip(kernel, dilation, strict=True)]
    reach = [int(t[-1]) + 1 for t in taps]
    sizes, before, after = [], [], []
    for extent, step, width in zip(image.shape[:2], stride, reach, strict=True):
        places = -(-extent // step) if same else (extent - width) // step + 1
        pad = max((places - 1) * step + width - extent, 0) if same else 0
        sizes.append(places)
        before.append(pad // 2)
        after.append(pad - pad // 2)
    padded = np.pad(image, ((before[0], after[0]), (before[1], after[1]), (0, 0)))
    total = sizes[0] * sizes[1]
    places = np.arange(total) if total <= count else random.choice(total, count, replace=False)
    y, x = (places // sizes[1]) * stride[0], (places % sizes[1]) * stride[1]
    rows = y[:, None, None] + taps[0][None, :, None]
    columns = x[:, None, None] + taps[1][None, None, :]
    return padded[rows, columns].reshape(len(places), -1)
