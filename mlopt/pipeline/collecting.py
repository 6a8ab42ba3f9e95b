"""Candidates out of the cache: what was made, what was skipped, what is missing, each with its reason."""

from collections.abc import Mapping
from dataclasses import replace

from mlopt import cache
from mlopt.pipeline.progress import Findings
from mlopt.pipeline.request import CompressRequest, Wanted
from mlopt.pipeline.stages import candidate
from mlopt.pipeline.workers.files import Entries
from mlopt.pipeline.workers.making import RECORD, FileFacts, skipped
from mlopt.pipeline.workers.proving import RECORD as PROOF
from mlopt.pipeline.workers.proving import Proof
from mlopt.report import Candidate, Severity


def collected(
    wanted: tuple[Wanted, ...], made: Mapping[str, Mapping[str, Entries]], request: CompressRequest, findings: Findings
) -> tuple[list[Candidate], dict[tuple[str, str], Entries]]:
    """The candidates in the order of `wanted`, and the entries of those that have a file.

    `made` maps format and precision to the entries. Files are called STEM-PRECISION after the model of the request.
    """
    candidates, entries = [], {}
    for one in wanted:
        door = one.converter
        for precision in one.precisions:
            each = made.get(door.name, {}).get(precision.name)
            about = f"{door.name}/{precision.name}"
            if each is None or not each.made.exists():
                candidates.append(Candidate(format=door.name, precision=precision.name, about=precision.about))
            elif reason := skipped(each.made):
                severity = Severity.FAILURE if precision.name in request.precisions else Severity.NOTE
                findings.add(severity, "not-made", about, f"not made: {reason}")
            elif each.proof is None or not each.proof.exists():
                candidates.append(Candidate(format=door.name, precision=precision.name, about=precision.about))
            else:
                name = f"{request.model.stem}-{precision.name}{door.suffix}"
                candidates.append(replace(candidate(door, precision, each), path=name))
                entries[door.name, precision.name] = each
                _add_notes(each, about, findings)
    return candidates, entries


def _add_notes(entries: Entries, about: str, findings: Findings) -> None:
    assert entries.proof is not None
    unverified = cache.read_record(entries.proof / PROOF, Proof).unverified
    notes = cache.read_record(entries.made / RECORD, FileFacts).notes
    severity, code = (Severity.FAILURE, "unverified") if unverified else (Severity.NOTE, "note")
    for note in (*notes, *([f"unverified: {unverified}"] if unverified else [])):
        findings.add(severity, code, about, note)
