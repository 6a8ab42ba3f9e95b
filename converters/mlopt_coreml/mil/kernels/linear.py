"""Matrix products."""

import numpy as np

from mlopt_coreml.mil.kernels.activation import softmax_over
from mlopt_coreml.mil.kernels.registry import Call, NotSupported, Tensor, kernel


@kernel("linear")
def linear(call: Call) -> Tensor:
    """The product of x [..., in] and weight [out, in] transposed, plus bias [out]."""
    x = call["x"]
    weight = call.setting("weight")
    y = x.reshape(-1, x.shape[-1]) @ weight.T
    if "bias" in call:
        y += call.setting("bias")
    return y.reshape(*x.shape[:-1], weight.shape[0])


@kernel("matmul")
def matmul(call: Call) -> Tensor:
    if call.rank("x") < 2 or call.rank("y") < 2:
        raise NotSupported("a vector as operand")
    x, y = call.broadcast("x", "y")
    x = np.swapaxes(x, -1, -2) if call.flag("transpose_x") else x
    y = np.swapaxes(y, -1, -2) if call.flag("transpose_y") else y
    return np.matmul(x, y)


@kernel("einsum")
def einsum(call: Call) -> Tensor:
    """Any two-operand equation; dimensions of size 1 broadcast as the operation allows."""
    first, second = call.all("values")
    equation = call.text("equation").replace(" ", "")
    operands, arrow, result = equation.partition("->")
    left, comma, right = operands.partition(",")
    if not (arrow and comma) or not (left + right + result).isalpha():
        raise NotSupported(f"equation {equation}")
    sample = next(letter for letter in "zyxwvutsrqponmlkjihgfedcba" if letter not in equation)
    sizes: dict[str, int] = {}
    for names, tensor in ((left, first), (right, second)):
        for letter, size in zip(names, tensor.shape[1:], strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    samples = max(first.shape[0], second.shape[0])
    first, second = (
        np.broadcast_to(tensor, (samples, *(sizes[letter] for letter in names)))
        for names, tensor in ((left, first), (right, second))
    )
    return np.einsum(f"{sample}{left},{sample}{right}->{sample}{result}", first, second, optimize=True)


@kernel("scaled_dot_product_attention")
def attention(call: Call) -> Tensor:
    query, key, value = call.broadcast("query", "key", "value")
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) / np.float32(np.sqrt(query.shape[-1]))
    if "attn_mask" in call:
        mask = call.broadcast("attn_mask", "query")[0]
        scores = np.where(mask, scores, np.float32(-np.inf)) if mask.dtype == np.bool_ else scores + mask
    return np.matmul(softmax_over(scores, -1), value)
