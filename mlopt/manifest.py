"""`manifest.json`: what a bundle holds, for the programs that come after: releases, devices, drift checks.

To change it, raise SCHEMA, keep reading the old ones, and keep a file of each in the tests.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mlopt import plain
from mlopt.artifact import Contract
from mlopt.data.fingerprint import InputFingerprint, OutputFingerprint, SampleFingerprint
from mlopt.documents import content, json_value
from mlopt.errors import MloptError
from mlopt.quantities import Count
from mlopt.report import CalibrationBin

SCHEMA = 2
AS_GIVEN = "as given"
NAME = "manifest.json"
_LARGEST_BYTES = 64 << 20


class ManifestUnreadable(MloptError):
    def __init__(self, path: Path, found: str) -> None:
        self.path, self.found = str(path), found
        super().__init__(f"{path}: {found}")


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What stands between the data as stored and the model's input: real = stored * scale + offset."""

    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, kw_only=True)
class GoldenTensor:
    """Raw little-endian values in C order, at `path` in the bundle."""

    name: str
    path: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What of all that can be made of the source a file is."""

    recipe: str                          # its name; "as given" where the source was exported as it is
    recipe_sha256: str                   # of the recipe as it was read; "" without one
    format: str
    precision: str


@dataclass(frozen=True, kw_only=True)
class Population:
    """What the model meets and what it makes of it: samples in the frequencies of their source.

    The reference of drift checks. Calibration samples are balanced by class and would make every fleet look drifted.
    """

    role: str                            # "test", or "holdout" where they are a part of what --data or --train named
    samples: SampleFingerprint           # inputs and labels
    outputs: dict[str, OutputFingerprint]       # of the source model, by name


@dataclass(frozen=True, kw_only=True)
class ManifestFile:
    """One exported file. A device replays the golden inputs and compares with `golden_outputs`."""

    path: str
    variant: Variant
    sha256: str                          # of the file; of a folder: see mlopt.files.digest
    bytes: int
    verified: bool
    recommended: bool
    contract: Contract | None            # None where the file did not run
    golden_outputs: tuple[GoldenTensor, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, OutputFingerprint] = field(default_factory=dict)     # its own, on the samples it was proven on
    confusion: tuple[tuple[Count, ...], ...] = ()            # rows: label, columns: answer; empty without classes
    calibration_curve: tuple[CalibrationBin, ...] = ()       # empty without labels that judge answers


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """What a file was made from."""

    source_sha256: str
    source_name: str
    recipe: str                          # sha256 of the recipe as it was read; "" for a plain compression
    seed: int
    data_sha256: dict[str, str]          # role -> fingerprint of the samples
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    lineage: Lineage
    normalisation: Normalisation
    labels: tuple[str, ...]              # class names in the order of the scores; empty where none are known
    golden_inputs: tuple[GoldenTensor, ...]
    calibration: SampleFingerprint       # what ranges were taken from; as many of each class as there are
    calibration_origin: str              # "given" or "synthesised"
    population: Population | None        # None where nothing but synthesised samples was there
    files: tuple[ManifestFile, ...]
    schema: int = SCHEMA


def to_json(manifest: Manifest) -> bytes:
    text = json.dumps(plain.to_plain(manifest), indent=1, allow_nan=False)
    return _on_one_line(text).encode() + b"\n"


def read(path: Path) -> Manifest:
    """The manifest at `path`; raises `ManifestUnreadable` for anything that is not one, or is newer than this mlopt.

    One of schema 1 has no population, no distributions (they were of the calibration samples, in bins that cannot be
    added), and knows a recipe by its digest alone.
    """
    try:
        found = json_value(content(path, most_bytes=_LARGEST_BYTES))
    except FileNotFoundError as err:
        raise ManifestUnreadable(path, "no such file") from err
    except (OSError, ValueError) as err:
        raise ManifestUnreadable(path, f"not a manifest ({err})") from err
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema not in (1, SCHEMA) or isinstance(schema, bool):
        raise ManifestUnreadable(path, f"has schema {schema!r}, and this mlopt reads 1 and {SCHEMA}")
    try:
        return plain.from_json(found, Manifest) if schema == SCHEMA else _upgraded(plain.from_json(found, _Manifest1))
    except msgspec.ValidationError as err:
        raise ManifestUnreadable(path, f"not a manifest ({err})") from err


@dataclass(frozen=True, kw_only=True)
class _Input1:
    shape: tuple[int, ...]
    dtype: str
    channels: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class _Samples1:
    sha256: str
    count: Count
    inputs: dict[str, _Input1]
    label_counts: dict[str, Count]
    label_values: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class _File1:
    path: str
    format: str
    precision: str
    sha256: str
    bytes: int
    verified: bool
    recommended: bool
    contract: Contract | None
    golden_outputs: tuple[GoldenTensor, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Manifest1:
    lineage: Lineage
    normalisation: Normalisation
    labels: tuple[str, ...]
    golden_inputs: tuple[GoldenTensor, ...]
    calibration: _Samples1
    calibration_origin: str
    files: tuple[_File1, ...]


def _upgraded(old: _Manifest1) -> Manifest:
    samples, recipe = old.calibration, old.lineage.recipe
    return Manifest(
        lineage=old.lineage, normalisation=old.normalisation, labels=old.labels, golden_inputs=old.golden_inputs,
        calibration=SampleFingerprint(
            sha256=samples.sha256, count=samples.count, label_counts=samples.label_counts, label_values=None,
            inputs={
                name: InputFingerprint(shape=one.shape, dtype=one.dtype, channels=())
                for name, one in samples.inputs.items()
            },
        ),
        calibration_origin=old.calibration_origin, population=None,
        files=tuple(
            ManifestFile(
                path=file.path, sha256=file.sha256, bytes=file.bytes, verified=file.verified,
                recommended=file.recommended, contract=file.contract, golden_outputs=file.golden_outputs,
                choices=file.choices,
                variant=Variant(
                    recipe="" if recipe else AS_GIVEN, recipe_sha256=recipe, format=file.format,
                    precision=file.precision,
                ),
            )
            for file in old.files
        ),
    )


def _on_one_line(text: str) -> str:
    """The JSON with each array of numbers on a line of its own: distributions hold hundreds."""
    return re.sub(r"\[[\s\d.eE+,-]+\]", lambda found: re.sub(r"\s+", "", found[0]), text)
