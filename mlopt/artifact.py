"""One exported file: what it is, what it holds, and how to feed it."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class PortContract:
    """How one input or output of an exported file maps to the source model's.

    real = (stored - zero_point) * scale for integer dtypes; scale is 1 and zero_point 0 for floats.
    """

    name: str                     # the source model's name for it
    stored_name: str              # the name inside the file
    shape: tuple[int | None, ...]
    layout: str
    dtype: str                    # what the file takes: "float32", "int8", "uint8", "int16"
    scale: float = 1.0
    zero_point: int = 0


@dataclass(frozen=True, kw_only=True)
class Contract:
    inputs: tuple[PortContract, ...]
    outputs: tuple[PortContract, ...]


@dataclass(frozen=True, kw_only=True)
class StoredLayer:
    """One operation that owns weights, as read back from the file."""

    name: str                     # the file's, or op index, e.g. "conv2d_3" or "CONV_2D#7"
    op: str                       # the format's own op name
    weight_dtype: str             # "float32", "float16", "int8", "int4", "uint6-palette", "sparse-int8", ...
    activation_dtype: str         # dtype of the op's first input
    elements: int                 # weights held, biases not counted
    bytes: int                    # bytes that those weights take in the file, scales included


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What is really stored, read back from the file and never taken from the request."""

    weights_by_dtype: dict[str, int]     # dtype -> number of weight elements (kernels; biases counted under "bias")
    ops_by_dtype: dict[str, int]         # dtype of an op's output -> number of ops
    layers: tuple[StoredLayer, ...]
    overhead_bytes: int                  # file bytes that are not weights


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a quantizer reports of the file that it wrote."""

    path: Path
    choices: dict[str, str] = field(default_factory=dict)   # e.g. {"ranges": "percentile 99.99", "bias": "corrected"}
    notes: tuple[str, ...] = ()          # what was left alone, or cannot be known; each with why
