"""`manifest.json`: what a bundle holds, for the programs that come after: releases, devices, drift checks.

To change it, raise SCHEMA, keep reading the old one, and keep an old file in the tests.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mlopt import plain
from mlopt.artifact import Contract
from mlopt.data.fingerprint import SampleFingerprint
from mlopt.documents import content, json_value
from mlopt.errors import MloptError

SCHEMA = 1
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
class ManifestFile:
    """One exported file. A device replays the golden inputs and compares with `golden_outputs`."""

    path: str
    format: str
    precision: str
    sha256: str                          # of the file; of a folder: see mlopt.files.digest
    bytes: int
    verified: bool
    recommended: bool
    contract: Contract | None            # None where the file did not run
    golden_outputs: tuple[GoldenTensor, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)


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
    calibration: SampleFingerprint       # what drift checks compare uploads with
    calibration_origin: str              # "given" or "synthesised"
    files: tuple[ManifestFile, ...]
    schema: int = SCHEMA


def to_json(manifest: Manifest) -> bytes:
    return json.dumps(plain.to_plain(manifest), indent=1, allow_nan=False).encode() + b"\n"


def read(path: Path) -> Manifest:
    """The manifest at `path`; raises `ManifestUnreadable` for anything that is not one, or is newer than this mlopt."""
    try:
        found = json_value(content(path, most_bytes=_LARGEST_BYTES))
    except FileNotFoundError as err:
        raise ManifestUnreadable(path, "no such file") from err
    except (OSError, ValueError) as err:
        raise ManifestUnreadable(path, f"not a manifest ({err})") from err
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA or isinstance(schema, bool):
        raise ManifestUnreadable(path, f"has schema {schema!r}, and this mlopt reads {SCHEMA}")
    try:
        return plain.from_json(found, Manifest)
    except msgspec.ValidationError as err:
        raise ManifestUnreadable(path, f"not a manifest ({err})") from err
