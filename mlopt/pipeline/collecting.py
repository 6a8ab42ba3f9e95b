"""Candidates out of the cache: what was made, what was skipped, what is missing, each with its reason."""

import json
from collections.abc import Mapping
from pathlib import Path

from mlopt import cache
from mlopt.pipeline.format_stage import SKIPPED
from mlopt.pipeline.progress import Findings
from mlopt.pipeline.request import Wanted
from mlopt.report import Candidate, Severity


def collected(
    wanted: tuple[Wanted, ...], made: Mapping[str, Mapping[str, Path]], asked: tuple[str, ...], findings: Findings
) -> tuple[list[Candidate], dict[tuple[str, str], Path]]:
    """The candidates in the order of `wanted`, and the entries of those that have a file.

    `made` maps format and precision to the entry; `asked` are the precisions that the user named.
    """
    candidates, entries = [], {}
    for one in wanted:
        name = one.converter.name
        for precision in one.precisions:
            entry = made.get(name, {}).get(precision.name)
            about = f"{name}/{precision.name}"
            if entry is None or not entry.exists():
                candidates.append(Candidate(format=name, precision=precision.name, about=precision.about))
            elif (entry / SKIPPED).exists():
                severity = Severity.FAILURE if precision.name in asked else Severity.NOTE
                findings.add(severity, "not-made", about, f"not made: {json.loads((entry / SKIPPED).read_text())}")
            else:
                candidate = cache.read_record(entry / "candidate.json", Candidate)
                candidates.append(candidate)
                entries[name, precision.name] = entry
                _add_notes(entry, candidate, about, findings)
    return candidates, entries


def _add_notes(entry: Path, candidate: Candidate, about: str, findings: Findings) -> None:
    severity, code = (Severity.NOTE, "note") if candidate.verified else (Severity.FAILURE, "unverified")
    for note in json.loads((entry / "notes.json").read_text()):
        findings.add(severity, code, about, note)
