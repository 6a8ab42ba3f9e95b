"""What the runner is asked, what it answers, and what its parts tell each other: plain values that survive JSON.

The fields are those of `mlopt.profiling.contract`, which a runner that travels alone cannot import.
"""

from __future__ import annotations

from typing import TypedDict


class OperatorTime(TypedDict):
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
    """`bytes` has the fields of `MemoryBytes`."""

    bytes: dict[str, int]
    notes: list[str]


class _Named(TypedDict):
    file: str
    format: str
    nonce: str


class Request(_Named, total=False):
    """A `RunRequest`; what is not there has its default."""

    threads: int
    cpus: list[int]
    arrival: str
    rate_hz: float
    runs: int
    least_warmup_runs: int
    most_seconds: float
    operators: bool
    memory: bool
    seed: int
    beside: str
    order_seed: int
    schema: int


class _Told(TypedDict):
    nonce: str
    schema: int
    error: str
    phases: dict[str, float]
    warmup_runs: int
    samples_us: list[float]
    notes: list[str]
    extra: dict[str, str]
    facts: dict[str, object]


class Result(_Told, total=False):
    """A `RunResult`; what was not measured is not there."""

    beside_samples_us: list[float]
    burst: int
    batch_per_sample: int
    missed_deadlines: int
    context_switches: int
    memory: dict[str, int]
    operators: list[OperatorTime]
    operators_invoke_us: float
