"""Train in place as a task says: continued after a kill where it stood, and bit for bit the same each time."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

from mlopt.errors import BadRequest, TrainingDiverged
from mlopt.frameworks.fitting import EpochFacts, FitResult, FitTask, Hold, OnEvent, Strategy
from mlopt.frameworks.keras.fitting import checkpoints, pipeline, strategies
from mlopt.frameworks.keras.fitting.arithmetic import rewritten
from mlopt.frameworks.keras.fitting.checkpoints import Progress, Saved
from mlopt.frameworks.keras.fitting.determinism import deterministic
from mlopt.frameworks.keras.fitting.logs import Board, Events
from mlopt.frameworks.keras.fitting.pipeline import Fetch
from mlopt.frameworks.keras.fitting.preparing import Prepared, prepare
from mlopt.frameworks.keras.fitting.steps import hold, several
from mlopt.frameworks.keras.fitting.strategies import Engine
from mlopt.frameworks.keras.fitting.student import Trainee
from mlopt.frameworks.keras.fitting.updates import Held, learning_rate, numbers
from mlopt.frameworks.keras.quiet import tf

CALL_S = 0.25           # of steps that one call of the graph should take: more would hold back events and checkpoints
MOST_STEPS = 64         # in a call


def fit(model: Trainee, task: FitTask, on_event: OnEvent) -> FitResult:
    """See `mlopt.frameworks.protocol.TrainableModel.fit`.

    Early stopping brings the weights of the best epoch back; without it those of the last one come back.
    """
    if task.strategy in (Strategy.MULTI_WORKER, Strategy.PARAMETER_SERVER):
        from mlopt.frameworks.keras.fitting import remote

        return remote.fit(model, task, on_event)
    from mlopt.training.tracking import tracked

    return train(model, task, strategies.engine(task.strategy), on_event, tracked)


def train(
    model: Trainee, task: FitTask, engine: Engine, on_event: OnEvent,
    tracked: Callable[[FitTask], AbstractContextManager[Any]],
) -> FitResult:
    """By the devices of an engine; `tracked` opens what is told of each epoch."""
    with deterministic(task.seed):
        prepared = prepare(model, task, engine)
        try:
            with (
                rewritten(prepared.arithmetic),
                tracked(task) as tracker,
                prepared.step.chance.installed(prepared.student.model),
                engine.strategy.scope(),
            ):
                training = _Training(prepared, model, on_event, tracker)
                try:
                    result = training.run()
                finally:
                    training.board.close()
        finally:
            prepared.feed.close()
    return replace(result, notes=(*result.notes, *tracker.notes))


class _Training:
    """A training under way."""

    def __init__(self, prepared: Prepared, trainee: Trainee, on_event: OnEvent, tracker: Any) -> None:
        self.p, self.task, self.student = prepared, prepared.task, prepared.student
        self.trainee, self.tracker = trainee, tracker
        self.board = Board(self.task.logs if prepared.engine.writes else None)
        self.caller = prepared.engine.caller()
        self.events = Events(on_event, steps=prepared.steps, epochs=self.task.epochs)
        self.progress = Progress(sums=(0.0,) * len(self.parts))
        self.best: list[np.ndarray] = []
        self.holds: dict[str, Hold] = {}
        self.held: dict[int, Held] = {}
        self.run_steps: Any = None
        self.warm = False
        self.notes = list(prepared.notes)
        self.digest = checkpoints.digest(self.task, self.student.weights(), prepared.engine.replicas)
        self.saved_at = time.monotonic()

    @property
    def parts(self) -> tuple[str, ...]:
        return self.p.step.objective.parts

    def run(self) -> FitResult:
        resumed = self._resume()
        if not self.progress.stopped and self.progress.step < self.p.steps:
            self._train(resumed)
        return self._finish(resumed)

    def _train(self, resumed: int) -> None:
        """Steps until the last one, or until it stops early."""
        if not resumed:
            self._ask_holder()
        self.p.feed.ask(self._next(self.progress.step, 1))
        after = self.progress.step
        while after < self.p.steps and not self.progress.stopped:
            started, waited = time.perf_counter(), self.p.feed.waited_s
            fetch, tree = self.p.feed.take()
            after = fetch.first + fetch.count
            if after < self.p.steps:
                self.p.feed.ask(self._next(after, self._worth()))
            finished = list(self._call(fetch, tree))
            ends = after % self.p.steps_per_epoch == 0
            asks = self.task.holder is not None and after < self.p.steps and after % self.task.holder.every == 0
            saves = ends or self.p.engine.decided(time.monotonic() - self.saved_at >= self.task.checkpoint_every_s)
            if ends or asks or saves:
                finished += self.caller.drained()
            seconds = time.perf_counter() - started
            for done, losses in finished:
                share = 1 / len(finished)
                self._stepped(done, losses, share * seconds, share * (self.p.feed.waited_s - waited))
            if ends:
                self._epoch_done()
            if asks:
                self._ask_holder()
            if saves:
                self._save()

    def _next(self, first: int, count: int) -> Fetch:
        """At most `count` steps from `first` on, up to the next end of an epoch or question to the holder."""
        until = [self.p.steps_per_epoch - first % self.p.steps_per_epoch, count, MOST_STEPS, self.p.feed.most_steps]
        if self.task.holder is not None:
            until.append(self.task.holder.every - first % self.task.holder.every)
        return Fetch(first, min(until))

    def _worth(self) -> int:
        if self.p.engine.steps_per_call:
            return self.p.engine.steps_per_call
        return max(1, int(CALL_S / self.events.step_s)) if self.events.step_s else 1

    def _call(self, fetch: Fetch, tree: pipeline.Tree) -> Iterator[tuple[Fetch, np.ndarray]]:
        """Make these steps; losses [count, parts] of those that are done."""
        rows = tf.constant(numbers(self.task.optimizer, fetch.first, fetch.count, self.p.steps))
        first = tf.constant(fetch.first, tf.int64)
        if self.run_steps is None:
            self.run_steps = several(self.p.step, self.held, tree)
            self.warm = False
        return self.caller.call(self.run_steps, fetch, (tree, rows, first))

    def _diverged(self, step: int) -> None:
        rate = learning_rate(self.task.optimizer, step, self.p.steps)
        raise TrainingDiverged(step + 1, rate, str(self.task.checkpoints))

    def _stepped(self, fetch: Fetch, losses: np.ndarray, seconds: float, waited: float) -> None:
        wrong = ~np.isfinite(losses[:, -1])
        if wrong.any():
            self._diverged(fetch.first + int(np.argmax(wrong)))
        sums = np.array(self.progress.sums)
        for row in losses.astype(np.float64):       # one by one: the sum does not depend on how steps were called
            sums = sums + row
        before = self.progress
        self.progress = replace(
            before, step=fetch.first + fetch.count, sums=tuple(sums.tolist()), epoch_s=before.epoch_s + seconds
        )
        if not self.warm:                           # the first call of a graph takes the time of its trace
            self.warm = True
        else:
            self.events.timed(seconds, fetch.count)
            self.progress = replace(
                self.progress, waited_s=before.waited_s + waited, ran_s=before.ran_s + seconds,
                timed=before.timed + fetch.count,
            )
        step = self.progress.step
        rate = learning_rate(self.task.optimizer, step - 1, self.p.steps)
        mean = dict(zip(self.parts, losses.mean(0).tolist(), strict=True))
        self.board.scalars(step, {f"loss/{name}": value for name, value in mean.items()} | {
            "learning_rate": rate, "waiting": waited / seconds if seconds else 0.0,
        })
        validation = self.progress.epochs[-1].validation if self.progress.epochs else float("nan")
        epoch = (step - 1) // self.p.steps_per_epoch + 1
        self.events.tell(done=step, epoch=epoch, loss=mean["total"], validation=validation)

    def _epoch_done(self) -> None:
        before = self.progress
        epoch = before.step // self.p.steps_per_epoch
        started = time.perf_counter()
        figure = self.p.validation.figure()
        self.events.validation_s = time.perf_counter() - started
        facts = EpochFacts(
            epoch=epoch, validation=figure,
            learning_rate=learning_rate(self.task.optimizer, before.step - 1, self.p.steps),
            losses=dict(zip(self.parts, (s / self.p.steps_per_epoch for s in before.sums), strict=True)),
            seconds=before.epoch_s + self.events.validation_s,
        )
        self.progress = replace(
            before, epochs=(*before.epochs, facts), sums=(0.0,) * len(self.parts), epoch_s=0.0,
        )
        if figure > before.best:        # false where it is nan
            self.progress = replace(self.progress, best=figure, best_epoch=epoch, worse=0)
            if self.task.early_stopping:
                self.best = self.student.values()
        elif self.task.early_stopping:
            worse = before.worse + 1
            self.progress = replace(self.progress, worse=worse, stopped=worse >= self.task.early_stopping)
        self.board.scalars(before.step, {"validation": figure} | {f"epoch/{k}": v for k, v in facts.losses.items()})
        self.tracker.epoch(facts, before.step)

    def _ask_holder(self) -> None:
        """What holds from here on; it holds at once."""
        if self.task.holder is None:
            return
        own = self.student.model is self.trainee.keras_model        # a grid gives its kernels in real numbers
        weights = self.trainee.weights() if own else self.student.weights()
        answer = self.task.holder.holds(self.progress.step, self.p.steps, weights)
        if answer is None:
            return
        changed = self._set_holds(dict(answer))
        for index, held in self.held.items():
            hold(self.p.engine.strategy, self.student.variables[index], held)
        if changed and self.progress.step:          # what was best held less: epochs are compared anew
            self.progress = replace(self.progress, best=float("-inf"), best_epoch=0, worse=0)
            self.best = []

    def _set_holds(self, holds: Mapping[str, Hold]) -> bool:
        """Whether something else is held than before."""
        places = self.student.names
        unknown = [name for name in holds if name not in places]
        if unknown:
            raise ValueError(f"no weight is called {', '.join(unknown)}; the model has {', '.join(places)}")
        forms = {places[name]: Held.form(one) for name, one in holds.items() if Held.form(one) != (False, 0)}
        if forms != {index: held.shape for index, held in self.held.items()}:
            self.held = {places[name]: Held(one) for name, one in holds.items() if places[name] in forms}
            self.run_steps = None
        else:
            for name, one in holds.items():
                if places[name] in forms:
                    self.held[places[name]].assign(one)
        changed, self.holds = not _same(self.holds, holds), dict(holds)
        return changed

    def _resume(self) -> int:
        """Go on from the checkpoint of this task, if there is one; the step that it stands at."""
        state = self.p.optimizer_state
        saved, why_not = checkpoints.read(
            self.task.checkpoints, self.digest, self.student.values(), [np.array(v.numpy()) for v in state],
            self.student.names,
        )
        if why_not:
            self.notes.append(why_not)
        if not self.p.engine.all_same(0 if saved is None else saved.progress.step):
            raise BadRequest(
                f"the processes of this training found different checkpoints: {self.task.checkpoints} must be one"
                " folder that all of them see"
            )
        if saved is None:
            return 0
        self.student.assign(saved.weights)
        for variable, value in zip(state, saved.optimizer, strict=True):
            variable.assign(value)
        self.progress, self.best = saved.progress, saved.best
        if saved.holds:
            self._set_holds(saved.holds)
        return self.progress.step

    def _save(self) -> None:
        weights = self.student.values()
        if not all(np.isfinite(value).all() for value in weights):
            self._diverged(self.progress.step - 1)
        if self.p.engine.writes:
            optimizer = [np.array(v.numpy()) for v in self.p.optimizer_state]
            checkpoints.write(self.task.checkpoints, self.digest, Saved(
                progress=self.progress, weights=weights, optimizer=optimizer, best=self.best, holds=self.holds,
            ))
        self.saved_at = time.monotonic()

    def _finish(self, resumed: int) -> FitResult:
        done = self.progress
        if self.task.early_stopping and self.best:
            self.student.assign(self.best)
            epoch = done.best_epoch
            self.notes.append(f"the weights of epoch {epoch} came back, the best on the validation samples")
        else:
            epoch = len(done.epochs)
            self.notes.append(f"the weights of the last epoch came back{_better(done)}")
        if self.student.model is not self.trainee.keras_model:
            for mine, own in zip(self.student.variables, self.trainee.keras_model.weights, strict=True):
                own.assign(mine.numpy())
        self.events.tell(
            done=done.step, epoch=len(done.epochs), loss=done.epochs[-1].losses["total"],
            validation=done.epochs[epoch - 1].validation, last=True,
        )
        samples = done.timed * self.p.feed.batch
        return FitResult(
            epochs=done.epochs, best_epoch=epoch, validation=done.epochs[epoch - 1].validation, steps=done.step,
            replicas=self.p.engine.working, resumed_at_step=resumed,
            input=pipeline.facts(self.p.feed, waited_s=done.waited_s, seconds=done.ran_s, samples=samples),
            notes=tuple(self.notes),
        )


def _better(done: Progress) -> str:
    """For the note, where another epoch than the last was the best on the validation samples."""
    last = len(done.epochs)
    if not done.best_epoch or done.best_epoch == last or done.best == done.epochs[-1].validation:
        return ""
    return f"; epoch {done.best_epoch} had the better validation figure, {done.best:.4f}"


def _same(a: Mapping[str, Hold], b: Mapping[str, Hold]) -> bool:
    return a.keys() == b.keys() and all(
        _equal(a[name].mask, b[name].mask) and _equal(a[name].ties, b[name].ties) for name in a
    )


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))
