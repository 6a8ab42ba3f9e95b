"""Latency of the files of a run: after all other work, with the machine to itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlopt import files
from mlopt.convert.protocol import Converter, Place
from mlopt.errors import WorkerFailed
from mlopt.model import Signature
from mlopt.pipeline.request import Wanted
from mlopt.pipeline.workers.files import Entries
from mlopt.pipeline.workers.making import file_in
from mlopt.pipeline.workspace import Workspace
from mlopt.profiling import latency
from mlopt.report import Candidate, Latency, Severity
from mlopt.sandbox import Reach
from mlopt.worker import Job

Pairs = dict[str, list[list[float]]]      # precision -> [[float file's seconds, this file's seconds], ...]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is run: the first row of a folder of samples, as a signature takes it."""

    signature: Signature
    folder: Path


def timed(
    at: Workspace, wanted: tuple[Wanted, ...], candidates: list[Candidate], entries: Mapping[tuple[str, str], Entries],
    sample: Sample,
) -> list[Candidate]:
    """The candidates with their latencies, or the reason why there is none."""
    found: dict[tuple[str, str], Latency] = {}
    for one in wanted:
        door = one.converter
        these = [c for c in candidates if c.format == door.name and c.verified]
        if Place.HOST not in door.places:
            reason = f"{door.runtime} is no device's runtime: this machine cannot time {door.name} files"
            found |= {(door.name, c.precision): Latency(reason=reason) for c in these}
            if these:
                at.findings.add(Severity.NOTE, "latency-unknown", door.name, reason)
        elif these:
            paths = {c.precision: file_in(entries[door.name, c.precision].made, door.suffix) for c in these}
            latencies = files_timed(at, door, one.precisions[0].name, paths, sample)
            found |= {(door.name, precision): known for precision, known in latencies.items()}
    at.report("latency", "timed", finished=True)
    return [replace(c, latency=found.get((c.format, c.precision), c.latency)) for c in candidates]


def files_timed(
    at: Workspace, door: Converter, base: str, paths: Mapping[str, Path], sample: Sample
) -> dict[str, Latency]:
    """Files of one format by name, each in pairs with the one called `base`."""
    if base not in paths:
        reason = "the float file of this format does not run, so there is nothing to compare with"
        return {name: Latency(reason=reason) for name in paths}
    digests = {name: files.digest(path) for name, path in paths.items()}
    entry = at.entries.latencies(door, digests, base, sample.folder)
    if not entry.exists():
        try:
            processes = _measured(at, door, base, paths, sample)
        except WorkerFailed as err:
            at.findings.add(Severity.FAILURE, "worker-failed", door.name, str(err))
            return {name: Latency(reason=str(err)) for name in paths}
        with files.new_folder(entry) as folder:
            (folder / "pairs.json").write_text(json.dumps(processes))
    processes = json.loads((entry / "pairs.json").read_text())
    return {name: latency.summarise([one[name] for one in processes]) for name in paths}


def _measured(at: Workspace, door: Converter, base: str, paths: Mapping[str, Path], sample: Sample) -> list[Pairs]:
    job = Job(
        task=f"timing {door.name} files", function=latency.time_pairs, sees=door.sees,
        arguments={"format": door.name, "float_file": paths[base], "files": paths, "signature": sample.signature,
                   "samples": sample.folder},
        reach=Reach(reads=(at.store.root,)),
    )
    processes = []
    for number in range(latency.PROCESSES):
        at.report("latency", door.name, done=number, total=latency.PROCESSES)
        processes.append(at.crew.run(job, Pairs))
    return processes
