"""In a data worker: read what the user named, once, into folders that other workers map."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlopt import cache, files, worker
from mlopt.data.fingerprint import SampleFingerprint
from mlopt.model import Signature


@dataclass(frozen=True, kw_only=True)
class DataTask:
    """`sources` maps a role ("calibration", "test") to its source; one source for both is split without overlap."""

    data: str | None
    test: str | None
    signature: Signature
    dest: Path                              # entry that gets calibration/ and test/
    limits: Mapping[str, int]
    seed: int
    normalise: tuple[float, float] | None
    resize: bool
    slice_columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """One role's samples, as they were read."""

    source: str
    count: int
    fingerprint: str
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    summary: SampleFingerprint
