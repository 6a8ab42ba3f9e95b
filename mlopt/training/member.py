"""What every process of a cluster does: it takes the model and the task, and trains with the others."""

from contextlib import nullcontext
from pathlib import Path

from mlopt import plain, plugins
from mlopt.frameworks.fitting import EpochFacts, FitResult, Place
from mlopt.frameworks.stepper import AnyStepper
from mlopt.training import loop
from mlopt.training.cluster import RESULT
from mlopt.training.travelling import read_task, write_arrays
from mlopt.worker import emit


class Relay:
    """Takes a tracker's place: the figures of an epoch go to the process that asked for the training."""

    notes: tuple[str, ...] = ()

    def epoch(self, facts: EpochFacts, step: int) -> None:
        emit(epoch_facts=facts, step=step)


def take_part(framework: str, request: Path, place: Place, leads: bool) -> FitResult:
    """Train as this member, or serve until the cluster's other processes are done.

    `leads`: the values go back to who asked, who waits for this member; all that step together have the same.
    """

    def keep(stepper: AnyStepper) -> None:
        values = stepper.values()       # by all members: what each has its own of, such as running means, they average
        if leads:
            write_arrays(request / RESULT, values)

    join = plain.resolve(plugins.load_framework(framework).member)
    with join(request, place) as model:
        task = read_task(request)
        return loop.train(model, task, lambda event: emit(**event), lambda task: nullcontext(Relay()), keep)
