"""Normalisations; channels are the second declared axis."""

import numpy as np

from mlopt_coreml.mil.kernels.registry import Call, NotSupported, Tensor, kernel


def _per_channel(call: Call, parameter: str, default: float) -> Tensor:
    shape = (-1, *(1,) * (call.rank("x") - 2))
    return np.asarray(call.setting(parameter, default), np.float32).reshape(shape)


@kernel("batch_norm")
def batch_norm(call: Call) -> Tensor:
    mean, variance = _per_channel(call, "mean", 0.0), _per_channel(call, "variance", 1.0)
    scale = _per_channel(call, "gamma", 1.0) / np.sqrt(variance + np.float32(call.number("epsilon", 1e-5)))
    return (call["x"] - mean) * scale + _per_channel(call, "beta", 0.0)


@kernel("instance_norm")
def instance_norm(call: Call) -> Tensor:
    x = call["x"]
    normal = _standardised(x, tuple(range(3, x.ndim)), call.number("epsilon", 1e-5))
    return normal * _per_channel(call, "gamma", 1.0) + _per_channel(call, "beta", 0.0)


@kernel("layer_norm")
def layer_norm(call: Call) -> Tensor:
    x, axes = call["x"], call.axes("axes")
    shape = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    normal = _standardised(x, axes, call.number("epsilon", 1e-5))
    if "gamma" in call:
        normal = normal * call.setting("gamma").reshape(shape)
    if "beta" in call:
        normal = normal + call.setting("beta").reshape(shape)
    return normal


def _standardised(x: Tensor, axes: tuple[int, ...], epsilon: float) -> Tensor:
    centred = x - x.mean(axis=axes, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + np.float32(epsilon))


@kernel("l2_norm")
def l2_norm(call: Call) -> Tensor:
    """Over the last three declared axes together."""
    x = call["x"]
    total = np.square(x).sum(axis=(-3, -2, -1), keepdims=True)
    return x / np.sqrt(total + np.float32(call.number("epsilon", 1e-6)))


@kernel("local_response_norm")
def local_response_norm(call: Call) -> Tensor:
    """Each x / (k + alpha / size * sum of squares over `size` neighbouring channels) ** beta."""
    x, size = call["x"], call.integer("size")
    if size % 2 == 0:
        raise NotSupported("an even size, where the window could lean either way")
    channels, reach = x.shape[2], size // 2
    squares = np.square(x)
    total = np.zeros_like(squares)
    for shift in range(-reach, reach + 1):
        low, high = max(0, shift), min(channels, channels + shift)
        if low < high:
            total[:, :, low - shift : high - shift] += squares[:, :, low:high]
    factor = np.float32(call.number("alpha", 1e-4) / size)
    base = np.float32(call.number("k", 1.0)) + factor * total
    return x / np.power(base, np.float32(call.number("beta", 0.75)))
