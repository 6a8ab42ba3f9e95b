"""One number out for each number in, with broadcasting."""

from collections.abc import Callable

import numpy as np
import scipy.special

from mlopt_coreml.mil.kernels.registry import Call, NotSupported, Tensor, kernel

_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "floor_div": np.floor_divide, "mod": np.mod,
    "maximum": np.maximum, "minimum": np.minimum, "pow": np.power,
    "equal": np.equal, "not_equal": np.not_equal, "greater": np.greater, "greater_equal": np.greater_equal,
    "less": np.less, "less_equal": np.less_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
}
_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": np.abs, "exp": np.exp, "exp2": np.exp2, "sqrt": np.sqrt, "square": np.square, "sign": np.sign,
    "floor": np.floor, "ceil": np.ceil, "round": np.round, "erf": scipy.special.erf, "logical_not": np.logical_not,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "atanh": np.arctanh,
}


@kernel(*_BINARY)
def binary(call: Call) -> Tensor:
    x, y = call.broadcast("x", "y")
    return _BINARY[call.operation.kind](x, y)


@kernel("real_div")
def real_div(call: Call) -> Tensor:
    x, y = call.broadcast("x", "y")
    quotient = np.true_divide(x, y)
    return np.trunc(quotient) if x.dtype.kind in "iu" else quotient


@kernel(*_UNARY)
def unary(call: Call) -> Tensor:
    return _UNARY[call.operation.kind](call["x"])


@kernel("identity")
def identity(call: Call) -> Tensor:
    return call["x"]


@kernel("log")
def log(call: Call) -> Tensor:
    return np.log(call["x"] + np.float32(call.number("epsilon", 1e-45)))


@kernel("rsqrt")
def rsqrt(call: Call) -> Tensor:
    return 1 / np.sqrt(call["x"] + np.float32(call.number("epsilon", 1e-12)))


@kernel("inverse")
def inverse(call: Call) -> Tensor:
    return 1 / (call["x"] + np.float32(call.number("epsilon", 1e-4)))


@kernel("clip")
def clip(call: Call) -> Tensor:
    return np.clip(call["x"], np.float32(call.number("alpha")), np.float32(call.number("beta")))


@kernel("threshold")
def threshold(call: Call) -> Tensor:
    return np.maximum(call["x"], np.float32(call.number("alpha")))


@kernel("select")
def select(call: Call) -> Tensor:
    condition, a, b = call.broadcast("cond", "a", "b")
    return np.where(condition, a, b)


@kernel("cast")
def cast(call: Call) -> Tensor:
    """To integers by dropping the fraction; between floats the evaluator rounds by the output's type."""
    x, wanted = call["x"], call.output.dtype
    if wanted == "bool":
        return x != 0
    if wanted.startswith("float"):
        return x.astype(np.float32)
    kind = np.dtype(wanted)
    if x.dtype.kind != "f":
        return x.astype(kind)
    limits = np.iinfo(kind)
    return np.clip(np.trunc(x.astype(np.float64)), limits.min, limits.max).astype(kind)


@kernel("quantize")
def quantize(call: Call) -> Tensor:
    """clip(round(input / scale) + zero_point), rounding halves to even."""
    kind = np.iinfo(call.output.dtype)
    scale, zero_point = _scales(call)
    whole = np.round(call["input"] / scale) + zero_point
    return np.clip(whole, kind.min, kind.max).astype(call.output.dtype)


@kernel("dequantize")
def dequantize(call: Call) -> Tensor:
    """Multiply: scale * (input - zero_point)."""
    scale, zero_point = _scales(call)
    return (call["input"].astype(np.float32) - zero_point) * scale


def _scales(call: Call) -> tuple[Tensor, Tensor]:
    scale = np.asarray(call.setting("scale"), np.float32)
    zero_point = np.asarray(call.setting("zero_point", 0), np.float32)
    if scale.ndim == 0:
        return scale, zero_point
    if scale.ndim > 1:
        raise NotSupported(f"a scale of rank {scale.ndim}")
    shape = [1] * (call.rank("input") + 1)
    shape[call.axis("axis", 0, of="input")] = -1
    return scale.reshape(shape), zero_point.reshape(shape) if zero_point.ndim else zero_point
