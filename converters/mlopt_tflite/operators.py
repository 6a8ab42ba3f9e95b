"""What LiteRT's integer kernels ask of the scales around each operation.

Each entry was run in LiteRT; an operation that is not here, or that LiteRT refuses at run time, stays in float.
"""

import enum
from dataclasses import dataclass, field


class Scales(enum.Enum):
    FREE = "inputs and outputs have their own scales"
    SAME = "values pass through: inputs and outputs share one scale"
    FIXED = "the output's scale is the kernel's own"


@dataclass(frozen=True, kw_only=True)
class IntegerOp:
    """The integer form of an operation. `fixed` gives (scale, zero point) of outputs by activation type."""

    scales: Scales
    types: frozenset[str]
    version: int = 2                      # the least operator version that knows the integer type
    fixed: dict[str, tuple[float, int]] = field(default_factory=dict)


BOTH, ONLY_8 = frozenset({"int8", "int16"}), frozenset({"int8"})
_UNIT = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)}          # 0..1
_SIGNED_UNIT = {"int8": (1 / 128, 0), "int16": (1 / 32768, 0)}      # -1..1


def _ops(names: str, scales: Scales, types: frozenset[str], version: int = 2) -> dict[str, IntegerOp]:
    return {name: IntegerOp(scales=scales, types=types, version=version) for name in names.split()}


INTEGER_OPS: dict[str, IntegerOp] = {
    **_ops("CONV_2D DEPTHWISE_CONV_2D", Scales.FREE, BOTH, version=3),
    **_ops("TRANSPOSE_CONV", Scales.FREE, BOTH, version=3),
    **_ops("FULLY_CONNECTED", Scales.FREE, BOTH, version=4),
    **_ops("ADD SUB MUL MEAN BATCH_MATMUL GELU RSQRT EXP RELU RELU6 LEAKY_RELU", Scales.FREE, BOTH),
    **_ops("SUM SQUARED_DIFFERENCE SQRT ABS", Scales.FREE, ONLY_8),
    **_ops("PRELU HARD_SWISH DIV RELU_N1_TO_1", Scales.FREE, ONLY_8, version=1),
    **_ops("RESHAPE SQUEEZE EXPAND_DIMS", Scales.SAME, BOTH, version=1),
    **_ops("TRANSPOSE PAD PADV2 MIRROR_PAD STRIDED_SLICE SLICE SPLIT CONCATENATION", Scales.SAME, BOTH),
    **_ops("GATHER PACK UNPACK MAX_POOL_2D AVERAGE_POOL_2D MAXIMUM MINIMUM", Scales.SAME, BOTH),
    **_ops("REDUCE_MAX REDUCE_MIN", Scales.SAME, BOTH),
    **_ops("RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR", Scales.SAME, BOTH),
    **_ops("SPACE_TO_DEPTH DEPTH_TO_SPACE SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND TILE", Scales.SAME, ONLY_8),
    **_ops("REVERSE_V2", Scales.SAME, BOTH, version=3),
    **_ops("SELECT SELECT_V2", Scales.SAME, ONLY_8, version=1),
    "SOFTMAX": IntegerOp(scales=Scales.FIXED, types=BOTH, fixed=_UNIT),
    "LOGISTIC": IntegerOp(scales=Scales.FIXED, types=BOTH, fixed=_UNIT),
    "TANH": IntegerOp(scales=Scales.FIXED, types=BOTH, fixed=_SIGNED_UNIT),
    "L2_NORMALIZATION": IntegerOp(scales=Scales.FIXED, types=ONLY_8, fixed=_SIGNED_UNIT),
    "LOG_SOFTMAX": IntegerOp(scales=Scales.FIXED, types=ONLY_8, fixed={"int8": (16 / 256, 127)}),
}
