"""Train in place as a task says: continued after a kill where it stood, and bit for bit the same each time.

A framework gives the step, see `mlopt.frameworks.stepper`; everything around it is here, once for all frameworks.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlopt.errors import BadRequest, TrainingDiverged
from mlopt.frameworks.fitting import EpochFacts, FitResult, FitTask, Hold, OnEvent, Strategy
from mlopt.frameworks.protocol import Trainable
from mlopt.frameworks.stepper import AnyStepper, Steps, Told
from mlopt.training import checkpoints, checks, cluster, feed, lesson
from mlopt.training.board import Board
from mlopt.training.checkpoints import Progress, Saved
from mlopt.training.events import Events
from mlopt.training.feed import Feed, Rows
from mlopt.training.holding import same
from mlopt.training.schedule import learning_rate
from mlopt.training.tracking import Tracking, tracked

CALL_S = 0.25           # of steps that one call should take: more would hold back events and checkpoints
MOST_STEPS = 64         # in a call

OpenTracking = Callable[[FitTask], AbstractContextManager[Tracking]]


def fit(model: Trainable, task: FitTask, on_event: OnEvent) -> FitResult:
    """Train `model` in place. Raises `BadRequest` before the first step for a task that cannot be trained.

    Early stopping brings the weights of the best epoch back; without it those of the last one come back.

    Events: {"doing": "training", "done": step, "total": steps, "epoch": e, "epochs": n, "loss": x, "validation": y,
    "left_s": seconds}, at most twice a second.
    """
    if task.strategy not in (Strategy.MULTI_WORKER, Strategy.PARAMETER_SERVER):
        return train(model, task, on_event, tracked)
    alone = replace(task, strategy=Strategy.ONE)
    with _prepared(model, alone):           # what one process would refuse is refused here
        pass
    result, values = cluster.train(model, task, on_event)
    with model.stepper(lesson.prepared(model.signature, alone)) as stepper:
        stepper.restore(values)
        stepper.deliver()
    return result


def train(
    model: Trainable, task: FitTask, on_event: OnEvent, tracking: OpenTracking,
    finished: Callable[[AnyStepper], None] | None = None,
) -> FitResult:
    """By the devices of this process, or as one of several; `tracking` opens what is told of each epoch.

    `finished` is called when the values that come back are in place.
    """
    with _prepared(model, task) as prepared, tracking(task) as tracker:
        training = _Training(prepared, on_event, tracker)
        try:
            result = training.run()
            if finished is not None:
                finished(prepared.stepper)
        finally:
            training.board.close()
    return replace(result, notes=(*result.notes, *tracker.notes))


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A training that can begin."""

    task: FitTask
    stepper: AnyStepper
    feed: Feed[Any]
    notes: tuple[str, ...]


@contextmanager
def _prepared(model: Trainable, task: FitTask) -> Iterator[_Prepared]:
    """Raises `BadRequest` or `DataMismatch` for what cannot be trained."""
    opened = lesson.prepared(model.signature, task)
    with model.stepper(opened) as stepper:
        checks.batch(task.batch, stepper.replicas, opened.train)
        lesson.check_figure(task, stepper.measures)
        fed = Feed(
            rows=Rows.of(opened.train, opened.stored, with_labels=lesson.reads_labels(opened)), place=stepper.place,
            batch=task.batch * stepper.replicas, places=stepper.places, seed=task.seed, echo=task.echo,
        )
        left = opened.train.count - fed.batches_per_epoch * fed.batch
        try:
            yield _Prepared(
                task=task, stepper=stepper, feed=fed,
                notes=(*stepper.notes, *lesson.notes(opened, stepper.measures, left)),
            )
        finally:
            fed.close()


class _Training:
    """A training under way."""

    def __init__(self, prepared: _Prepared, on_event: OnEvent, tracker: Tracking) -> None:
        self.task, self.stepper, self.feed, self.tracker = prepared.task, prepared.stepper, prepared.feed, tracker
        self.peers = self.stepper.peers
        self.steps_per_epoch = self.feed.steps_per_epoch
        self.steps = self.task.epochs * self.steps_per_epoch
        self.board = Board(self.task.logs if self.peers.writes else None)
        self.events = Events(on_event, steps=self.steps, epochs=self.task.epochs)
        self.progress = Progress(sums=(0.0,) * len(self.stepper.parts))
        self.best: dict[str, np.ndarray] = {}
        self.holds: dict[str, Hold] = {}
        self.warm = False
        self.notes = list(prepared.notes)
        self.digest = checkpoints.digest(self.task, self.stepper.values(), self.stepper.replicas)
        self.saved_at = time.monotonic()

    def run(self) -> FitResult:
        resumed = self._resume()
        if not self.progress.stopped and self.progress.step < self.steps:
            self._train(resumed)
        return self._finish(resumed)

    def _train(self, resumed: int) -> None:
        """Steps until the last one, or until it stops early."""
        if not resumed:
            self._ask_holder()
        self.feed.ask(self._next(self.progress.step, 1))
        after = self.progress.step
        while after < self.steps and not self.progress.stopped:
            started, waited = time.perf_counter(), self.feed.waited_s
            steps, placed = self.feed.take()
            after = steps.first + steps.count
            if after < self.steps:
                self.feed.ask(self._next(after, self._worth()))
            self.warm = self.warm and self.stepper.ready
            finished: list[Told] = list(self.stepper.run(steps, self._rates(steps), placed))
            ends = after % self.steps_per_epoch == 0
            asks = self.task.holder is not None and after < self.steps and after % self.task.holder.every == 0
            saves = ends or self.peers.decided(time.monotonic() - self.saved_at >= self.task.checkpoint_every_s)
            if ends or asks or saves:
                finished += self.stepper.drained()
            seconds = time.perf_counter() - started
            for done, losses in finished:
                share = 1 / len(finished)
                self._stepped(done, losses, share * seconds, share * (self.feed.waited_s - waited))
            if ends:
                self._epoch_done()
            if asks:
                self._ask_holder()
            if saves:
                self._save()

    def _next(self, first: int, count: int) -> Steps:
        """At most `count` steps from `first` on, up to the next end of an epoch or question to the holder."""
        until = [self.steps_per_epoch - first % self.steps_per_epoch, count, MOST_STEPS, self.feed.most_steps]
        if self.task.holder is not None:
            until.append(self.task.holder.every - first % self.task.holder.every)
        return Steps(first, min(until))

    def _worth(self) -> int:
        if self.peers.steps_per_call:
            return self.peers.steps_per_call
        return max(1, int(CALL_S / self.events.step_s)) if self.events.step_s else 1

    def _rate(self, step: int) -> float:
        return learning_rate(self.task.optimizer, step, self.steps)

    def _rates(self, steps: Steps) -> list[float]:
        return [self._rate(step) for step in range(steps.first, steps.first + steps.count)]

    def _diverged(self, step: int) -> None:
        raise TrainingDiverged(step + 1, self._rate(step), str(self.task.checkpoints))

    def _stepped(self, steps: Steps, losses: np.ndarray, seconds: float, waited: float) -> None:
        wrong = ~np.isfinite(losses[:, -1])
        if wrong.any():
            self._diverged(steps.first + int(np.argmax(wrong)))
        sums = np.array(self.progress.sums)
        for row in losses.astype(np.float64):       # one by one: the sum does not depend on how steps were called
            sums = sums + row
        before = self.progress
        self.progress = replace(
            before, step=steps.first + steps.count, sums=tuple(sums.tolist()), epoch_s=before.epoch_s + seconds
        )
        if not self.warm:                           # the first call may build what the others use
            self.warm = True
        else:
            self.events.timed(seconds, steps.count)
            self.progress = replace(
                self.progress, waited_s=before.waited_s + waited, ran_s=before.ran_s + seconds,
                timed=before.timed + steps.count,
            )
        step = self.progress.step
        mean = dict(zip(self.stepper.parts, losses.mean(0).tolist(), strict=True))
        self.board.scalars(step, {f"loss/{name}": value for name, value in mean.items()} | {
            "learning_rate": self._rate(step - 1), "waiting": waited / seconds if seconds else 0.0,
        })
        validation = self.progress.epochs[-1].validation if self.progress.epochs else float("nan")
        epoch = (step - 1) // self.steps_per_epoch + 1
        self.events.tell(done=step, epoch=epoch, loss=mean["total"], validation=validation)

    def _epoch_done(self) -> None:
        before = self.progress
        epoch = before.step // self.steps_per_epoch
        started = time.perf_counter()
        figure = self.stepper.figure()
        self.events.validation_s = time.perf_counter() - started
        facts = EpochFacts(
            epoch=epoch, validation=figure, learning_rate=self._rate(before.step - 1),
            losses=dict(zip(self.stepper.parts, (s / self.steps_per_epoch for s in before.sums), strict=True)),
            seconds=before.epoch_s + self.events.validation_s,
        )
        self.progress = replace(before, epochs=(*before.epochs, facts), sums=(0.0,) * len(before.sums), epoch_s=0.0)
        if figure > before.best:        # false where it is nan
            self.progress = replace(self.progress, best=figure, best_epoch=epoch, worse=0)
            if self.task.early_stopping:
                self.best = self.stepper.values()
        elif self.task.early_stopping:
            worse = before.worse + 1
            self.progress = replace(self.progress, worse=worse, stopped=worse >= self.task.early_stopping)
        self.board.scalars(before.step, {"validation": figure} | {f"epoch/{k}": v for k, v in facts.losses.items()})
        self.tracker.epoch(facts, before.step)

    def _ask_holder(self) -> None:
        """What holds from here on; it holds at once."""
        if self.task.holder is None:
            return
        answer = self.task.holder.holds(self.progress.step, self.steps, self.stepper.weights())
        if answer is None:
            return
        holds = dict(answer)
        known = self.stepper.values().keys()
        unknown = [name for name in holds if name not in known]
        if unknown:
            raise ValueError(f"no weight is called {', '.join(unknown)}; the model has {', '.join(known)}")
        self.stepper.hold(holds, now=True)
        changed, self.holds = not same(self.holds, holds), holds
        if changed and self.progress.step:          # what was best held less: epochs are compared anew
            self.progress = replace(self.progress, best=float("-inf"), best_epoch=0, worse=0)
            self.best = {}

    def _resume(self) -> int:
        """Go on from the checkpoint of this task, if there is one; the step that it stands at."""
        saved, why_not = checkpoints.read(
            self.task.checkpoints, self.digest, self.stepper.values(), self.stepper.optimizer()
        )
        if why_not:
            self.notes.append(why_not)
        if not self.peers.all_same(0 if saved is None else saved.progress.step):
            raise BadRequest(
                f"the processes of this training found different checkpoints: {self.task.checkpoints} must be one"
                " folder that all of them see"
            )
        if saved is None:
            return 0
        self.stepper.restore(saved.values, saved.optimizer)
        self.progress, self.best, self.holds = saved.progress, saved.best, saved.holds
        if saved.holds:
            self.stepper.hold(saved.holds, now=False)
        return self.progress.step

    def _save(self) -> None:
        values = self.stepper.values()
        if not all(np.isfinite(value).all() for value in values.values()):
            self._diverged(self.progress.step - 1)
        if self.peers.writes:
            checkpoints.write(self.task.checkpoints, self.digest, Saved(
                progress=self.progress, values=values, optimizer=self.stepper.optimizer(), best=self.best,
                holds=self.holds,
            ))
        self.saved_at = time.monotonic()

    def _finish(self, resumed: int) -> FitResult:
        done = self.progress
        if self.task.early_stopping and self.best:
            self.stepper.restore(self.best)
            epoch = done.best_epoch
            self.notes.append(f"the weights of epoch {epoch} came back, the best on the validation samples")
        else:
            epoch = len(done.epochs)
            self.notes.append(f"the weights of the last epoch came back{_better(done)}")
        self.stepper.deliver()
        self.events.tell(
            done=done.step, epoch=len(done.epochs), loss=done.epochs[-1].losses["total"],
            validation=done.epochs[epoch - 1].validation, last=True,
        )
        samples = done.timed * self.feed.batch
        return FitResult(
            epochs=done.epochs, best_epoch=epoch, validation=done.epochs[epoch - 1].validation, steps=done.step,
            replicas=self.stepper.working, resumed_at_step=resumed,
            input=feed.facts(self.feed, waited_s=done.waited_s, seconds=done.ran_s, samples=samples),
            notes=tuple(self.notes),
        )


def _better(done: Progress) -> str:
    """For the note, where another epoch than the last was the best on the validation samples."""
    last = len(done.epochs)
    if not done.best_epoch or done.best_epoch == last or done.best == done.epochs[-1].validation:
        return ""
    return f"; epoch {done.best_epoch} had the better validation figure, {done.best:.4f}"
