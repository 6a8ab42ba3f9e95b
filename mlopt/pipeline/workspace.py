"""Where the stages of a run work: who does it, where results are kept, who is told."""

from dataclasses import dataclass, field

from mlopt.cache import Cache
from mlopt.pipeline.entries import Entries
from mlopt.pipeline.progress import Findings, OnProgress, Progress, unheard
from mlopt.worker import Crew


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Shared by every stage; safe for several threads."""

    crew: Crew
    store: Cache
    on_progress: OnProgress = unheard
    findings: Findings = field(default_factory=Findings)

    @property
    def entries(self) -> Entries:
        """Where each stage's result belongs."""
        return Entries(self.store)

    def report(self, part: str, doing: str, *, done: int = 0, total: int = 0, finished: bool = False) -> None:
        self.on_progress(Progress(part=part, doing=doing, done=done, total=total, finished=finished))
