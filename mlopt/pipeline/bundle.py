"""The folder that a run leaves: files, manifest, reports. It appears whole, and replaces only a bundle of ours."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlopt import cache, disks, files, manifest, plugins
from mlopt.data.fingerprint import OutputFingerprint
from mlopt.data.samples import Samples
from mlopt.disks import Place
from mlopt.errors import OutputUnwritable
from mlopt.locks import held
from mlopt.manifest import (
    AS_GIVEN,
    GoldenTensor,
    Lineage,
    Manifest,
    ManifestFile,
    ManifestUnreadable,
    Normalisation,
    Population,
    Variant,
)
from mlopt.pipeline import golden
from mlopt.pipeline.request import CompressRequest
from mlopt.pipeline.run import Material
from mlopt.pipeline.workers.making import file_in
from mlopt.pipeline.workers.proving import GOLDEN
from mlopt.render import json, markdown
from mlopt.render.html.page import to_html
from mlopt.report import Candidate, Report
from mlopt.verify.outputs_seen import OUTPUTS

_REPORTS = ("report.json", "report.md", "report.html")
_GOLDEN = "golden"
_COPIES = 6     # all files of a run together came to 5 times the source's size on the models measured


def bundle_path(candidate: Candidate) -> str:
    return f"{candidate.format}/{Path(candidate.path).name}" if candidate.path else ""


def check_ours(out: Path) -> None:
    """Raise `OutputUnwritable` when `out` holds anything that is not of a bundle: it would be replaced as a whole."""
    elsewhere = "Choose another folder with --out"
    if out.resolve() in (here := Path.cwd(), *here.parents):
        raise OutputUnwritable(out, "the folder is replaced as a whole, and this is the current one", f"{elsewhere}.")
    if not out.exists():
        return
    if not out.is_dir():
        raise OutputUnwritable(out, "a file of that name is there", f"{elsewhere}.")
    held = {entry.name for entry in out.iterdir()}
    if not held or any(_left_over(out / name, out.resolve()) for name in held):    # killed while it filled `out`
        return
    try:
        ours = manifest.read(out / manifest.NAME)
    except ManifestUnreadable as err:
        found = "the folder is not empty and no bundle of mlopt's"
        raise OutputUnwritable(out, found, f"{elsewhere}, or empty it.") from err
    foreign = held - {manifest.NAME, *_REPORTS, _GOLDEN, *(file.path.partition("/")[0] for file in ours.files)}
    if foreign:
        found = f"it would be replaced, and {', '.join(sorted(foreign))} in it is not of the bundle"
        raise OutputUnwritable(out, found, "Move that, or choose another folder with --out.")


def check_room(request: CompressRequest) -> None:
    """Raise `OutputUnwritable` where the bundle cannot be written, before any work is done for nothing."""
    place = _staging_place(request.out.resolve())
    if not place.is_dir():
        raise OutputUnwritable(request.out, f"there is no folder {place}", "Create it, or choose another with --out.")
    files.check_writable(place, needs_bytes=_COPIES * request.model.size)


def _staging_place(out: Path) -> Path:
    return out if files.staged_inside(out) else out.parent


def _left_over(entry: Path, out: Path) -> bool:
    """Whether `entry` was staged for `out` by a run that did not live to rename it."""
    return entry.name.startswith(f".{out.name}.bundle.")


@contextlib.contextmanager
def claimed(out: Path, locks: Path) -> Iterator[None]:
    """Hold `out` for this run: a second one at the same time is refused, before it works for nothing."""
    place = out.resolve()
    name = hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
    busy = OutputUnwritable(
        out, "another mlopt run is writing it", "Wait for it, or choose another folder with --out."
    )
    with held(locks / f"{name}.lock", refusal=busy):
        staging = _staging_place(place)
        for left_over in [e for e in (staging.iterdir() if staging.is_dir() else ()) if _left_over(e, place)]:
            shutil.rmtree(left_over, ignore_errors=True)
        yield


def write(report: Report, material: Material, out: Path) -> None:
    """Write the bundle of `report` to `out`; the paths in the report are relative to it."""
    out = out.resolve()         # a link stays, and what it leads to is replaced
    try:
        staging = Path(tempfile.mkdtemp(dir=_staging_place(out), prefix=f".{out.name}.bundle."))
        try:
            _fill(staging, report, material)
            staging.chmod(0o755)
            (files.replace_content if staging.parent == out else files.replace_folder)(staging, out)
        except OSError as err:
            disks.name_if_full(err, out)
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as err:
        result = Place(what="the result", folder=out.parent, elsewhere="choose another folder with --out")
        raise disks.out_of_room(err, [result]) from err


def _fill(folder: Path, report: Report, material: Material) -> None:
    for candidate in report.candidates:
        if candidate.path:
            suffix = plugins.load_converter(candidate.format).suffix
            made = file_in(material.entries[candidate.format, candidate.precision].made, suffix)
            target = folder / candidate.path
            target.parent.mkdir(exist_ok=True)
            _copy(made, target)
    (folder / manifest.NAME).write_bytes(manifest.to_json(_manifest(folder, report, material)))
    written = (json.to_json(report), markdown.to_markdown(report).encode(), to_html(report).encode())
    for name, content in zip(_REPORTS, written, strict=True):
        (folder / name).write_bytes(content)


def _copy(made: Path, target: Path) -> None:
    """A file, or a folder with all in it. Its first error ends it; `shutil.copytree` would hide what kind it was."""
    for path in (made, *made.rglob("*")):
        there = target / path.relative_to(made)
        if path.is_dir():
            there.mkdir()
        else:
            shutil.copyfile(path, there)


def _manifest(folder: Path, report: Report, material: Material) -> Manifest:
    samples = Samples.open(material.calibration)
    signature = report.source.signature
    calibration = material.gathered["calibration"]
    given = golden.inputs(signature, samples, report.seed)
    return Manifest(
        lineage=Lineage(
            source_sha256=report.source.digest, source_name=report.source.path.name, seed=report.seed,
            recipe=report.trained.sha256 if report.trained else "",
            data_sha256={role: facts.fingerprint.sha256 for role, facts in material.gathered.items()},
            versions=report.host.versions,
        ),
        normalisation=Normalisation(scale=samples.scale, offset=samples.offset),
        labels=report.class_names,
        golden_inputs=tuple(_golden(folder, f"{_GOLDEN}/inputs", given)),
        calibration=calibration.fingerprint,
        calibration_origin=samples.origin,
        population=_population(report, material),
        files=tuple(_file(folder, c, material) for c in report.candidates if c.path),
    )


def _file(folder: Path, candidate: Candidate, material: Material) -> ManifestFile:
    proof = material.entries[candidate.format, candidate.precision].proof
    outputs: dict[str, np.ndarray] = {}
    if proof is not None and (proof / GOLDEN).exists():
        with np.load(proof / GOLDEN, allow_pickle=False) as stored:
            names = [spec.name for spec in material.source.signature.outputs]
            outputs = {name: stored[array] for name, array in zip(names, stored.files, strict=True)}
    place = f"{_GOLDEN}/{candidate.format}-{candidate.precision}"
    evidence, trained = candidate.evidence, material.product.trained
    return ManifestFile(
        path=candidate.path, sha256=candidate.sha256,
        variant=Variant(
            recipe=trained.recipe if trained else AS_GIVEN, recipe_sha256=trained.sha256 if trained else "",
            format=candidate.format, precision=candidate.precision,
        ),
        bytes=candidate.bytes, verified=candidate.verified, recommended=candidate.recommended,
        contract=candidate.contract, golden_outputs=tuple(_golden(folder, place, outputs)), choices=candidate.choices,
        outputs=_outputs(proof) if proof else {}, confusion=evidence.confusion if evidence else (),
        calibration_curve=evidence.calibration_curve if evidence else (),
    )


def _population(report: Report, material: Material) -> Population | None:
    samples = material.gathered["test"]
    if samples.origin != "given":
        return None
    return Population(
        role=report.baseline.samples, samples=samples.fingerprint, outputs=_outputs(material.reference)
    )


def _outputs(entry: Path) -> dict[str, OutputFingerprint]:
    """What the model of an entry was seen to give; nothing where it did not run."""
    record = entry / OUTPUTS
    return cache.read_record(record, dict[str, OutputFingerprint]) if record.exists() else {}


def _golden(folder: Path, place: str, tensors: dict[str, np.ndarray]) -> Iterator[GoldenTensor]:
    for name, values in tensors.items():
        path = f"{place}/{name}.bin"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(golden.raw(values))
        yield GoldenTensor(name=name, path=path, dtype=values.dtype.name, shape=values.shape)


def placed(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The candidates with their paths in the bundle."""
    return tuple(replace(c, path=bundle_path(c)) for c in candidates)
