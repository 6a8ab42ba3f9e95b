"""Activation functions. Formulas are those of the MIL operation reference."""

import numpy as np
import scipy.special

from mlopt_coreml.mil.kernels.registry import Call, NotSupported, Tensor, kernel


@kernel("relu")
def relu(call: Call) -> Tensor:
    return np.maximum(call["x"], 0)


@kernel("relu6")
def relu6(call: Call) -> Tensor:
    return np.clip(call["x"], 0, 6)


@kernel("clamped_relu")
def clamped_relu(call: Call) -> Tensor:
    x, alpha, beta = call["x"], np.float32(call.number("alpha")), np.float32(call.number("beta"))
    return np.minimum(np.where(x >= 0, x, alpha * x), beta)


@kernel("thresholded_relu")
def thresholded_relu(call: Call) -> Tensor:
    x = call["x"]
    return np.where(x >= np.float32(call.number("alpha")), x, np.float32(0))


@kernel("leaky_relu")
def leaky_relu(call: Call) -> Tensor:
    x = call["x"]
    return np.where(x >= 0, x, np.float32(call.number("alpha")) * x)


@kernel("prelu")
def prelu(call: Call) -> Tensor:
    """One slope for each channel, the second declared axis."""
    x = call["x"]
    alpha = call.setting("alpha").reshape(-1, *(1,) * (call.rank("x") - 2))
    return np.maximum(x, 0) + np.minimum(x, 0) * alpha


@kernel("elu")
def elu(call: Call) -> Tensor:
    x = call["x"]
    return np.where(x > 0, x, np.float32(call.number("alpha", 1.0)) * np.expm1(np.minimum(x, 0)))


@kernel("gelu")
def gelu(call: Call) -> Tensor:
    x, mode = call["x"], call.text("mode", "EXACT")
    if mode == "EXACT":
        return 0.5 * x * (1 + scipy.special.erf(x / np.float32(np.sqrt(2))))
    if mode == "TANH_APPROXIMATION":
        return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)))
    if mode == "SIGMOID_APPROXIMATION":
        return x * scipy.special.expit(np.float32(1.702) * x)
    raise NotSupported(f"mode {mode}")


@kernel("sigmoid")
def sigmoid(call: Call) -> Tensor:
    return scipy.special.expit(call["x"])


@kernel("sigmoid_hard")
def sigmoid_hard(call: Call) -> Tensor:
    return np.clip(np.float32(call.number("alpha", 0.2)) * call["x"] + np.float32(call.number("beta", 0.5)), 0, 1)


@kernel("silu")
def silu(call: Call) -> Tensor:
    x = call["x"]
    return x * scipy.special.expit(x)


@kernel("softplus")
def softplus(call: Call) -> Tensor:
    return np.logaddexp(call["x"], np.float32(0))


@kernel("softplus_parametric")
def softplus_parametric(call: Call) -> Tensor:
    shape = (-1, *(1,) * (call.rank("x") - 2))
    alpha, beta = (call.setting(p).reshape(shape) for p in ("alpha", "beta"))
    return alpha * np.logaddexp(call["x"] * beta, np.float32(0))


@kernel("softsign")
def softsign(call: Call) -> Tensor:
    x = call["x"]
    return x / (1 + np.abs(x))


@kernel("tanh")
def tanh(call: Call) -> Tensor:
    return np.tanh(call["x"])


@kernel("scaled_tanh")
def scaled_tanh(call: Call) -> Tensor:
    return np.float32(call.number("alpha", 1.0)) * np.tanh(np.float32(call.number("beta", 1.0)) * call["x"])


@kernel("linear_activation")
def linear_activation(call: Call) -> Tensor:
    return np.float32(call.number("alpha", 1.0)) * call["x"] + np.float32(call.number("beta", 0.0))


@kernel("softmax")
def softmax(call: Call) -> Tensor:
    return softmax_over(call["x"], call.axis("axis", -1))


def softmax_over(x: Tensor, axis: int) -> Tensor:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)
