"""In a format's worker, without any training framework: make each precision, run it, compare it with the source."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlopt import plugins, worker
from mlopt.errors import MloptError
from mlopt.events import Begun, Finished, NotMade, tell
from mlopt.pipeline.workers.making import Making, make, skipped
from mlopt.pipeline.workers.proving import Proving, prove_file


@dataclass(frozen=True, kw_only=True)
class Entries:
    """Where one precision's file and its proof belong; what is there already is left alone."""

    made: Path
    proof: Path | None = None           # None: it is not asked for


@dataclass(frozen=True, kw_only=True)
class FormatTask:
    format: str
    making: Making
    proving: Proving | None             # None: nothing is proven
    entries: Mapping[str, Entries]      # by precision


def make_and_prove(task: FormatTask) -> None:
    """Each precision by itself: what fails is told, and the others go on."""
    door = plugins.load_converter(task.format)
    by_name = {p.name: p for p in door.precisions}
    for name, entries in task.entries.items():
        tell(Begun(precision=name))
        precision = by_name[name]
        try:
            if not entries.made.exists():
                with worker.result(entries.made) as folder:
                    make(task.making, door, precision, folder)
            proof = None if skipped(entries.made) else entries.proof
            if task.proving is not None and proof is not None and not proof.exists():
                with worker.result(proof) as folder:
                    prove_file(task.proving, door, precision, made=entries.made, folder=folder)
        except MloptError as err:
            tell(NotMade(precision=name, message=str(err)))
        else:
            tell(Finished(precision=name))
