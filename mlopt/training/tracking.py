"""Trainings told to an MLflow server: parameters before the first step, figures after each epoch."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from mlopt import extras, telemetry
from mlopt.errors import BadRequest, OutputUnwritable
from mlopt.files import write_atomically
from mlopt.frameworks.fitting import EpochFacts, FitTask

EXPERIMENT = "mlopt"
RUN_FILE = "mlflow-run"         # beside the checkpoints: a training that is continued goes on in its run
PATIENCE = 2                    # failures after which a server is not asked again
# One retry and ten seconds: an epoch must not wait minutes for a server that is gone.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10", **telemetry.OFF,
}


class Tracking(Protocol):
    """Who is told of each epoch of a training."""

    @property
    def notes(self) -> tuple[str, ...]: ...

    def epoch(self, facts: EpochFacts, step: int) -> None: ...


class Tracker:
    """A run on a server; without one nothing is sent. A server that dies costs figures, never the training."""

    def __init__(self, client: Any = None, run: str = "", uri: str = "") -> None:
        self._client, self._run, self._uri = client, run, uri
        self._lost: list[int] = []
        self._open = False      # the run still counts as running on the server

    @property
    def notes(self) -> tuple[str, ...]:
        notes = []
        if self._lost:
            epochs = ", ".join(map(str, self._lost))
            notes.append(f"the figures of epoch {epochs} did not reach {self._uri}: the server stopped answering")
        if self._open:
            notes.append(f"the run stays open on {self._uri}: the server stopped answering")
        return tuple(notes)

    def epoch(self, facts: EpochFacts, step: int) -> None:
        """Losses, validation figure and learning rate of an epoch that is done."""
        if self._client is None:
            return
        if len(self._lost) >= PATIENCE:
            self._lost.append(facts.epoch)
            return
        from mlflow.entities import Metric

        values = {f"loss/{name}": value for name, value in facts.losses.items()}
        values |= {"validation": facts.validation, "learning_rate": facts.learning_rate, "seconds": facts.seconds}
        stamp = _now_ms()
        try:
            self._client.log_batch(
                self._run, metrics=[Metric(name, value, stamp, step) for name, value in values.items()]
            )
        except _failures():
            self._lost.append(facts.epoch)

    def ended(self, status: str) -> None:
        if self._client is not None and len(self._lost) < PATIENCE:
            try:
                self._client.set_terminated(self._run, status)
            except _failures():
                self._open = True


def _failures() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    return (MlflowException, RequestException, OSError)


def _now_ms() -> int:
    return int(time.time() * 1000)


@contextmanager
def tracked(task: FitTask) -> Iterator[Tracker]:
    """A tracker for this training; raises before it begins where the server does not answer."""
    if not task.track:
        yield Tracker()
        return
    tracker = _begin(task)
    try:
        yield tracker
    except BaseException:
        tracker.ended("FAILED")
        raise
    tracker.ended("FINISHED")


def check(track: str) -> None:
    """Raise where `track` names a server that does not answer; before anything long is begun."""
    if track:
        client, uri = _client(track)
        with _answering(uri):
            client.get_experiment_by_name(EXPERIMENT)


def folders(track: str) -> tuple[Path, ...]:
    """What is written where `track` names a folder or a database file of this machine; made if it is missing.

    >>> folders("mlflow:http://127.0.0.1:5000")
    ()
    """
    place = urlsplit(track.removeprefix("mlflow:"))
    if place.scheme not in ("", "file", "sqlite") or not place.path:
        return ()
    path = Path(place.path.removeprefix("/") if place.scheme == "sqlite" else place.path)     # sqlite:///relative
    folder = path.parent if place.scheme == "sqlite" else path
    folder.mkdir(parents=True, exist_ok=True)
    return (folder.resolve(),)


def _begin(task: FitTask) -> Tracker:
    client, uri = _client(task.track)
    with _answering(uri):
        run = _run(client, task.checkpoints)
        for name, value in _parameters(task).items():
            client.log_param(run, name, value)
    return Tracker(client, run, uri)


def _client(track: str) -> tuple[Any, str]:
    """And the server's address."""
    uri = track.removeprefix("mlflow:")
    if not uri:
        raise BadRequest("a training is tracked at mlflow:URI, e.g. mlflow:http://127.0.0.1:5000")
    extras.require("tracking", "--track")
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    with _answering(uri):
        return MlflowClient(tracking_uri=uri), uri


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    try:
        yield
    except _failures() as err:
        raise OutputUnwritable(
            uri, f"no MLflow server answers there ({_brief(err)})", "Start the server, or train without --track."
        ) from err


def _run(client: Any, folder: Path) -> str:
    """The run that this training began before, or a new one."""
    file = folder / RUN_FILE
    if file.is_file():
        known = file.read_text().strip()
        if known.isalnum() and _has(client, known):
            client.update_run(known, status="RUNNING")
            return known
    experiment = client.get_experiment_by_name(EXPERIMENT)
    identity = experiment.experiment_id if experiment is not None else client.create_experiment(EXPERIMENT)
    run = str(client.create_run(identity).info.run_id)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(file, run.encode())
    return run


def _has(client: Any, run: str) -> bool:
    """Whether the server knows this run, which another server may have begun."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run)
    except MlflowException as err:
        if err.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _parameters(task: FitTask) -> dict[str, str]:
    o = task.optimizer
    losses = "; ".join(f"{type(loss).__name__} {loss.weight:g}" for loss in task.losses)
    return {
        "epochs": str(task.epochs), "batch": str(task.batch), "optimizer": o.name,
        "learning_rate": f"{o.learning_rate:g}", "schedule": o.schedule.value, "weight_decay": f"{o.weight_decay:g}",
        "losses": losses, "augment": ", ".join(task.augment) or "none", "seed": str(task.seed),
        "strategy": task.strategy.value,
    }


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
