"""All files of one format: made and proven in a worker, and in another one where a file crashed the first."""

from dataclasses import dataclass

from mlopt.errors import WorkerFailed
from mlopt.events import Begun, Event, Finished, NotMade
from mlopt.pipeline.request import Wanted
from mlopt.pipeline.stages import run_format
from mlopt.pipeline.workers.files import Entries, FormatTask
from mlopt.pipeline.workers.making import Making, skipped
from mlopt.pipeline.workers.proving import Proving
from mlopt.pipeline.workspace import Workspace
from mlopt.report import Severity


@dataclass(frozen=True, kw_only=True)
class FormatFiles:
    """What one format's worker is to leave."""

    wanted: Wanted
    making: Making
    proving: Proving
    at: Workspace

    @property
    def entries(self) -> dict[str, Entries]:
        """Where each precision's file and its proof belong."""
        door, found = self.wanted.converter, {}
        for precision in self.wanted.precisions:
            made = self.at.entries.made(door, precision, self.making)
            found[precision.name] = Entries(
                made=made, proof=self.at.entries.proof(made, door, precision, self.proving)
            )
        return found

    def make_and_prove(self) -> None:
        """What is not kept already; what cannot be made is a finding."""
        entries = self.entries
        left = [name for name, each in entries.items() if not _is_complete(each)]
        while left:
            left = self._some({name: entries[name] for name in left})

    def _some(self, entries: dict[str, Entries]) -> list[str]:
        """Make files in one worker; give back those that a crash left undone, the one that crashed not among them."""
        name, findings = self.wanted.converter.name, self.at.findings
        begun: list[str] = []
        ended: set[str] = set()

        def hear(event: Event) -> None:
            match event:
                case Begun(precision=precision):
                    begun.append(precision)
                    self.at.report(name, precision, done=len(ended), total=len(entries))
                case NotMade(precision=precision, message=message):
                    ended.add(precision)
                    findings.add(Severity.FAILURE, "not-made", f"{name}/{precision}", message)
                case Finished(precision=precision):
                    ended.add(precision)

        try:
            run_format(
                self.at, FormatTask(format=name, making=self.making, proving=self.proving, entries=entries), hear
            )
        except WorkerFailed as err:
            crashed = next((p for p in reversed(begun) if p not in ended), None)
            about = f"{name}/{crashed}" if crashed else name
            findings.add(Severity.FAILURE, "worker-failed", about, str(err))
            return [p for p in entries if p not in ended and p != crashed] if crashed else []
        return []


def _is_complete(entries: Entries) -> bool:
    if not entries.made.exists():
        return False
    return bool(skipped(entries.made)) or entries.proof is None or entries.proof.exists()
