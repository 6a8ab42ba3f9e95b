"""Latency of the files of a run: after all other work, with the machine to itself."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from mlopt import files
from mlopt.cache import Cache
from mlopt.errors import WorkerFailed
from mlopt.model import Signature
from mlopt.pipeline.progress import Findings, OnProgress, Progress
from mlopt.pipeline.request import Wanted
from mlopt.profiling import latency
from mlopt.report import Candidate, Latency, Severity
from mlopt.sandbox import Reach
from mlopt.worker import Crew, Job

Pairs = dict[str, list[list[float]]]      # precision -> [[float file's seconds, this file's seconds], ...]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What timing needs of a run."""

    crew: Crew
    store: Cache
    findings: Findings
    on_progress: OnProgress
    signature: Signature
    samples: Path

    def timed(
        self, wanted: tuple[Wanted, ...], candidates: list[Candidate], entries: dict[tuple[str, str], Path]
    ) -> list[Candidate]:
        """The candidates with their latencies, or the reason why there is none."""
        found: dict[tuple[str, str], Latency] = {}
        for one in wanted:
            name = one.converter.name
            these = [c for c in candidates if c.format == name and c.verified]
            if not one.converter.measures_latency:
                reason = f"{one.converter.runtime} is no device's runtime: this machine cannot time {name} files"
                found |= {(name, c.precision): Latency(reason=reason) for c in these}
                if these:
                    self.findings.add(Severity.NOTE, "latency-unknown", name, reason)
            elif these:
                paths = {c.precision: entries[name, c.precision] / c.path for c in these}
                found |= {(name, p): latency for p, latency in self._of_format(one, paths).items()}
        self.on_progress(Progress(part="latency", doing="timed", finished=True))
        return [replace(c, latency=found.get((c.format, c.precision), c.latency)) for c in candidates]

    def _of_format(self, wanted: Wanted, paths: dict[str, Path]) -> dict[str, Latency]:
        name, base = wanted.converter.name, wanted.precisions[0].name
        if base not in paths:
            reason = "the float file of this format does not run, so there is nothing to compare with"
            return {p: Latency(reason=reason) for p in paths}
        entry = self.store.entry(
            "latency", host=latency.host(), format=name, files={p: files.digest(path) for p, path in paths.items()}
        )
        if not entry.exists():
            try:
                processes = self._measured(name, base, paths)
            except WorkerFailed as err:
                self.findings.add(Severity.FAILURE, "worker-failed", name, str(err))
                return {p: Latency(reason=str(err)) for p in paths}
            with files.new_folder(entry) as folder:
                (folder / "pairs.json").write_text(json.dumps(processes))
        processes = json.loads((entry / "pairs.json").read_text())
        return {p: latency.summarise([one[p] for one in processes]) for p in paths}

    def _measured(self, name: str, base: str, paths: dict[str, Path]) -> list[Pairs]:
        job = Job(
            task=f"timing {name} files", function="mlopt.profiling.latency:time_pairs",
            arguments={"format": name, "float_file": paths[base], "files": paths, "signature": self.signature,
                       "samples": self.samples},
            reach=Reach(reads=(self.store.root,)),
        )
        processes = []
        for number in range(latency.PROCESSES):
            self.on_progress(Progress(part="latency", doing=name, done=number, total=latency.PROCESSES))
            processes.append(self.crew.run(job, Pairs))
        return processes
