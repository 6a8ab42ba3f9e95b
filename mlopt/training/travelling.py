"""A task on its way to other processes, as JSON; arrays by name, as npz."""

import json
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import plain, worker
from mlopt.frameworks.fitting import AttentionLoss, FitTask, HintLoss, Hold, Holder, LabelLoss, Loss, TeacherLoss
from mlopt.network import Weights
from mlopt.training.holding import read_holds, write_holds

TASK = "task.json"
_LOSSES: Mapping[str, type[Loss]] = {
    kind.__name__: kind for kind in (LabelLoss, TeacherLoss, HintLoss, AttentionLoss)
}


def write_task(folder: Path, task: FitTask) -> None:
    """All of it but the holder, of which `read_task` makes one that asks the process that has it."""
    told = plain.to_plain(replace(task, holder=None))
    losses = [{"kind": type(loss).__name__, "settings": plain.to_plain(loss)} for loss in task.losses]
    every = None if task.holder is None else task.holder.every
    (folder / TASK).write_text(json.dumps({**told, "losses": losses, "holder": every}))


def read_task(folder: Path) -> FitTask:
    """What `write_task` wrote; its holder asks the caller of this worker, see `answer`."""
    told = json.loads((folder / TASK).read_text())
    every = told.pop("holder")
    losses = tuple(plain.from_plain(one["settings"], _LOSSES[one["kind"]]) for one in told.pop("losses"))
    hints = typing.get_type_hints(FitTask)
    settings: dict[str, Any] = {
        field.name: plain.from_plain(told[field.name], hints[field.name]) for field in fields(FitTask)
        if field.name in told
    }
    return FitTask(**settings, losses=losses, holder=None if every is None else Asking(every=every, folder=folder))


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A `Holder` whose answers come from the process that asked for the training."""

    every: int
    folder: Path            # that both processes see

    def holds(self, step: int, steps: int, weights: Weights) -> Mapping[str, Hold] | None:
        place = self.folder / f"asked-{os.getpid()}-{step}.npz"
        write_arrays(place, weights)
        answer = worker.ask(json.dumps({"step": step, "steps": steps, "weights": str(place)}))
        place.unlink()
        return None if answer is None else read_holds(Path(answer))


def answer(question: str, holder: Holder) -> str | None:
    """To what `Asking` asks: the file of the holds, None where they stay as they are."""
    asked = json.loads(question)
    weights = Path(asked["weights"])
    found = holder.holds(asked["step"], asked["steps"], read_arrays(weights))
    if found is None:
        return None
    holds = weights.with_name(weights.name.replace("asked-", "holds-"))
    write_holds(holds, found)
    return str(holds)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Names may hold any character, so arrays are numbered."""
    numbered = {f"a{i}": array for i, array in enumerate(arrays.values())}
    np.savez(path, allow_pickle=False, names=np.array(list(arrays), dtype=str), **numbered)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return {str(name): stored[f"a{i}"] for i, name in enumerate(stored["names"])}
