"""A training by several processes on this machine or a given cluster: started, watched, and begun again from the last
checkpoint when one of them is lost.

Nothing of a framework is here: each member joins by what its framework's door names.
"""

import os
import queue
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import plain, plugins
from mlopt.documents import json_value
from mlopt.errors import BadRequest, MemberLost, MloptError, WorkerCrashed, WorkerFailed
from mlopt.frameworks.fitting import EpochFacts, FitResult, FitTask, OnEvent, Place, Strategy
from mlopt.frameworks.protocol import Trainable
from mlopt.private_network import VARIABLE
from mlopt.sandbox import Network, Reach
from mlopt.training import tracking, travelling
from mlopt.worker import Cancelled, Crew, Job, ask, emit

RESULT = "values.npz"   # of the member that leads
WORKERS = 2             # on this machine, where no cluster is given: more processes share its devices
SERVERS = 1             # parameter servers of a cluster on this machine
RESTARTS = 3            # of the whole training after a member was lost
DEADLINE_S = 30 * 24 * 3600.0       # a training may take days; a member that hangs is the framework's time-out to end


def given(environment: Mapping[str, str], variable: str) -> Place | None:
    """What this variable holds; None without it. Raises `BadRequest` for a text that is no cluster."""
    text = environment.get(variable, "")
    if not text:
        return None
    try:
        config = json_value(text)
        spec = {str(kind): [str(address) for address in addresses] for kind, addresses in config["cluster"].items()}
        place = Place(spec=spec, kind=str(config["task"]["type"]), index=int(config["task"]["index"]))
        if place.kind not in spec or not 0 <= place.index < len(spec[place.kind]):
            raise ValueError(f"there is no {place.kind} {place.index} in the cluster")
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise BadRequest(
            f'{variable} is no cluster ({err}); it looks like {{"cluster": {{"worker": ["host:port", ...]}},'
            ' "task": {"type": "worker", "index": 0}}'
        ) from err
    return place


def train(model: Trainable, task: FitTask, on_event: OnEvent) -> tuple[FitResult, dict[str, np.ndarray]]:
    """Train by this machine's own cluster or the one that is given; the result, and `Stepper.values` at its end.

    Between the processes go JSON and arrays alone. What holds is asked for here, where the holder is.
    """
    variable = plugins.load_framework(model.framework).cluster_variable
    place, holder = given(os.environ, variable), task.holder
    # Files stay as the process that asks for the training is held to: all that is started here inherits that.
    reach = Reach(reads=None, writes=None, network=Network.LOOPBACK) if place is None else None
    with (
        tempfile.TemporaryDirectory(prefix="mlopt-cluster-") as name, tracking.tracked(task) as tracker, Crew() as crew
    ):
        folder = Path(name)
        model.hand_over(folder)
        travelling.write_task(folder, replace(task, track=""))

        def relay(event: dict[str, Any]) -> None:
            if "epoch_facts" in event:
                tracker.epoch(plain.from_plain(event["epoch_facts"], EpochFacts), event["step"])
            else:
                on_event(event)

        def answer(question: str) -> str | None:
            assert holder is not None, question
            return travelling.answer(question, holder)

        job = Job(
            task="training in a cluster", function="mlopt.training.cluster:supervise",
            arguments={
                "framework": model.framework, "request": folder, "place": place,
                "servers": SERVERS if task.strategy is Strategy.PARAMETER_SERVER else 0,
            },
            deadline_s=DEADLINE_S, reach=reach,
        )
        result = crew.run(job, FitResult, relay, answer)
        values = travelling.read_arrays(folder / RESULT)
    return replace(result, notes=(*result.notes, *tracker.notes)), values


def supervise(framework: str, request: Path, servers: int, place: Place | None) -> FitResult:
    """In a process of its own: members are started, and all of them again when one is lost."""
    notes: tuple[str, ...] = ()
    if place is None and os.environ.get(VARIABLE) != "1":
        notes = (
            "the members of the training listened on every interface of this machine: the system allows no private"
            " network",
        )
    lost = 0
    while True:
        watch = _Watch()
        try:
            result = _attempt(framework, request, place or _here(servers), alone=place is None, watch=watch)
        except WorkerFailed as err:
            if not _may_return(err, watch) or lost == RESTARTS:
                raise
            lost += 1
            emit(doing=f"restarting: {str(err).splitlines()[0]}", stays=True)
            time.sleep(1.0)
            continue
        if lost:
            notes = (*notes, f"{lost} times a member was lost and the training went on from its last checkpoint")
        return replace(result, notes=(*result.notes, *notes))


class _Watch:
    """What the members told: whether this attempt came further than its beginning."""

    def __init__(self) -> None:
        self.steps: set[int] = set()
        self._one_question = threading.Lock()

    def hear(self, event: dict[str, Any]) -> None:
        if isinstance(event.get("done"), int):
            self.steps.add(event["done"])
        emit(**event)

    def ask(self, question: str) -> Any:
        """Pass a member's question on; they ask in threads, and a process asks one question at a time."""
        with self._one_question:
            return ask(question)


def _may_return(error: WorkerFailed, watch: _Watch) -> bool:
    """A process that was killed, or that lost another, may do better the next time; a bug at the start will not."""
    if isinstance(error, MemberLost):
        return True
    return isinstance(error, WorkerCrashed) and (error.how.startswith("was ended by") or len(watch.steps) > 1)


def _here(servers: int) -> Place:
    """A cluster on loopback, on ports that are free now."""
    kinds = {"worker": WORKERS} if not servers else {"chief": 1, "worker": WORKERS, "ps": servers}
    sockets = [socket.socket() for _ in range(sum(kinds.values()))]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        addresses = iter([f"127.0.0.1:{one.getsockname()[1]}" for one in sockets])
    finally:
        for one in sockets:
            one.close()
    spec = {kind: [next(addresses) for _ in range(count)] for kind, count in kinds.items()}
    return Place(spec=spec, kind="chief" if servers else "worker", index=0)


def _attempt(framework: str, request: Path, place: Place, *, alone: bool, watch: _Watch) -> FitResult:
    """Every member of our own cluster, or our own part of a given one; the result is that of `place`.

    Raises what the first member that fails raised.
    """
    parts = [(kind, i) for kind, addresses in place.spec.items() for i in range(len(addresses))]
    if not alone:
        parts = [(place.kind, place.index)]
    ended: queue.SimpleQueue[tuple[tuple[str, int], Any]] = queue.SimpleQueue()
    with Crew() as crew:

        def run(part: tuple[str, int]) -> None:
            kind, index = part
            leads = part == (place.kind, place.index)
            job = Job(
                task=f"training, {kind} {index}", function="mlopt.training.member:take_part", sees=(framework,),
                arguments={
                    "framework": framework, "request": request, "leads": leads,
                    "place": replace(place, kind=kind, index=index),
                },
                deadline_s=DEADLINE_S, reach=None,
            )
            try:
                ended.put((part, crew.run(job, FitResult, watch.hear if leads else None, watch.ask)))
            except MloptError as err:
                ended.put((part, err))

        threads = [threading.Thread(target=run, args=[part], daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        failed: MloptError | None = None
        while True:
            part, outcome = ended.get()
            if isinstance(outcome, MloptError) and not isinstance(outcome, Cancelled):
                failed = outcome
                break
            if part == (place.kind, place.index):
                break
        crew.stop()
        for thread in threads:
            thread.join()
    if failed is not None:
        raise failed
    assert isinstance(outcome, FitResult)
    return outcome
