"""Kernels by family; importing this package fills the table."""

from mlopt_coreml.mil.kernels import (
    activation,
    constexpr,
    conv,
    creation,
    elementwise,
    index,
    linear,
    normalisation,
    pool,
    reduce,
    resize,
    shape,
)
from mlopt_coreml.mil.kernels.registry import KERNELS, Call, NotSupported

__all__ = [
    "KERNELS", "Call", "NotSupported", "activation", "constexpr", "conv", "creation", "elementwise", "index", "linear",
    "normalisation", "pool", "reduce", "resize", "shape",
]
