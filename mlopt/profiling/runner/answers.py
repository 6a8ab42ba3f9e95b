"""What the parts of the runner tell each other: plain values, since some come from another process as JSON."""

from __future__ import annotations

from typing import TypedDict


class OperatorTime(TypedDict):
    """The fields of `mlopt.profiling`'s class of that name."""

    index: int
    name: str
    op: str
    layer: str
    unit: str
    mean_us: float
    runs: int


class OperatorTimes(TypedDict):
    """`invoke_us` is the mean inference with profiling, `plain_us` without."""

    operators: list[OperatorTime]
    invoke_us: float
    plain_us: float
    notes: list[str]


class Footprint(TypedDict):
    """`bytes` are the fields of `MemoryBytes`."""

    bytes: dict[str, int]
    notes: list[str]
