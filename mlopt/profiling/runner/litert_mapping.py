"""Which of the file's operations stands behind what LiteRT executed.

An operation of LiteRT's own kernels carries its place in the graph. One inside XNNPACK does not: XNNPACK fuses, adds
copies, and numbers what is left. Both lists are in order of execution, so they are laid side by side as the longest
common subsequence of kinds that can stand for each other, with the own kernels as fixed points.
"""

from __future__ import annotations

import re

from .answers import OperatorTime

_BUILTIN = 2
_STANDS_FOR = {             # XNNPACK's kind -> the format's operations, beside those of the same name
    "convolution": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "deconvolution": ("TRANSPOSE_CONV",),
    "fully connected": ("FULLY_CONNECTED", "CONV_2D"),         # a convolution of one place is one
    "dynamic fully connected": ("FULLY_CONNECTED", "BATCH_MATMUL"),
    "batch matrix multiply": ("BATCH_MATMUL",),
    "subtract": ("SUB",),
    "multiply": ("MUL",),
    "divide": ("DIV",),
    "squared difference": ("SQUARED_DIFFERENCE",),
    "average pooling": ("AVERAGE_POOL_2D",),
    "global average pooling": ("MEAN", "AVERAGE_POOL_2D"),
    "max pooling": ("MAX_POOL_2D",),
    "reduce": ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"),
    "sigmoid": ("LOGISTIC",),
    "hardswish": ("HARD_SWISH",),
    "leaky relu": ("LEAKY_RELU",),
    "negate": ("NEG",),
    "square root": ("SQRT",),
    "reciprocal square root": ("RSQRT",),
    "ceiling": ("CEIL",),
    "bankers rounding": ("ROUND",),
    "constant pad": ("PAD", "PADV2"),
    "static reshape": ("RESHAPE", "SQUEEZE", "EXPAND_DIMS"),
    "copy": ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CONCATENATION"),
    "static slice": ("SLICE", "STRIDED_SLICE"),
    "even split": ("SPLIT",),
    "convert": ("QUANTIZE", "DEQUANTIZE"),
    "concatenate": ("CONCATENATION",),
    "clamp": ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"),
    "static resize bilinear": ("RESIZE_BILINEAR",),
}
_BELONGS_TO_BEFORE = frozenset({"clamp"})       # the limits of an operation with a fused activation


def operators(
    executed: tuple[tuple[int, str, int], ...], means_us: list[float], runs: int, file: str
) -> list[OperatorTime]:
    """`OperatorTime` of each executed (type, name, place), in order."""
    graph = _graph(file)
    places = mapped(executed, [op for op, _ in graph])
    found: list[OperatorTime] = []
    for index, ((kind, name, _), mean, place) in enumerate(zip(executed, means_us, places, strict=True)):
        op, layer = graph[place] if place >= 0 else ("", "")
        found.append({
            "index": index, "name": name, "op": op, "layer": layer,
            "unit": "builtin" if kind == _BUILTIN else "XNNPACK", "mean_us": mean, "runs": runs,
        })
    return found


def mapped(executed: tuple[tuple[int, str, int], ...], graph: list[str]) -> list[int]:
    """Place in the graph of each executed operation, -1 where there is none.

    >>> mapped(((8, "Add (ND)", 0), (8, "Clamp (NC)", 1), (2, "SOFTMAX", 2)), ["QUANTIZE", "ADD", "SOFTMAX"])
    [1, 1, 2]
    """
    places = [-1] * len(executed)
    first, start = 0, 0
    for end, (kind, name, place) in enumerate((*executed, (_BUILTIN, "", len(graph)))):
        if kind != _BUILTIN:
            continue
        if place < len(graph) and graph[place] != name:
            continue                    # numbered in another way than the graph: leave it without a layer
        if place < start:
            continue                    # a loop went back
        for at, where in _common([executed[i] for i in range(first, end)], graph[start:place]):
            places[first + at] = start + where
        if end < len(executed):
            places[end] = place
        first, start = end + 1, place + 1
    for i in range(1, len(executed)):
        if places[i] < 0 and executed[i][0] != _BUILTIN and _kind(executed[i][1]) in _BELONGS_TO_BEFORE:
            places[i] = places[i - 1]
    return places


def _common(executed: list[tuple[int, str, int]], graph: list[str]) -> list[tuple[int, int]]:
    """Pairs of the longest common subsequence, the earliest where several are as long."""
    rows, columns = len(executed), len(graph)
    longest = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            if _fits(executed[i], graph[j]):
                longest[i][j] = longest[i + 1][j + 1] + 1
            else:
                longest[i][j] = max(longest[i + 1][j], longest[i][j + 1])
    pairs, i, j = [], 0, 0
    while i < rows and j < columns:
        if _fits(executed[i], graph[j]) and longest[i][j] == longest[i + 1][j + 1] + 1:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _fits(executed: tuple[int, str, int], op: str) -> bool:
    type_, name, _ = executed
    if type_ == _BUILTIN:
        return name == op
    kind = _kind(name)
    return op in _STANDS_FOR.get(kind, ()) or op == kind.upper().replace(" ", "_")


def _kind(name: str) -> str:
    """XNNPACK's name without layout, types and kernel: "Convolution (NHWC, QC8) IGEMM" is "convolution"."""
    return re.split(r"\s*\(", name, maxsplit=1)[0].strip().lower()


def _graph(file: str) -> list[tuple[str, str]]:
    """(operation, name of its first output) of the first graph, in order, as the interpreter lists them."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=file, num_threads=1, experimental_op_resolver_type=kernels)
    names = {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}
    return [
        (op["op_name"], names.get(int(op["outputs"][0]), "") if len(op["outputs"]) else "")
        for op in interpreter._get_ops_details()      # no public method lists the operations
    ]
