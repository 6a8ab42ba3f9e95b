"""A training handed to other processes of ours: the network and the task in one file, the weights back in another."""

import io
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import plain
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import EpochFacts, FitResult, FitTask, OnEvent, Strategy
from mlopt.frameworks.keras.fitting import preparing, strategies
from mlopt.frameworks.keras.fitting.student import Trainee
from mlopt.frameworks.keras.network.building import Built, build
from mlopt.model import Signature
from mlopt.network import Network

REQUEST, RESULT = "request.pickle", "weights.npz"
SERVERS = 1             # parameter servers of a cluster on this machine


@dataclass(frozen=True)
class Twin:
    """A `Trainee` as it arrives in another process."""

    plan: Any
    built: Built
    signature: Signature
    network: Network
    output_activations: tuple[str, ...]
    variables: Mapping[str, Any]

    @property
    def keras_model(self) -> Any:
        return self.built.model

    def weights(self) -> dict[str, np.ndarray]:
        return {name: np.array(variable.numpy()) for name, variable in self.variables.items()}


def fit(trainee: Trainee, task: FitTask, on_event: OnEvent) -> FitResult:
    """Train by the processes of a cluster, and take the weights back. Refused here is what one process would refuse."""
    from mlopt.training import cluster, tracking

    if getattr(trainee, "plan", None) is None:
        raise BadRequest("this model has no plan to build replicas from: train it with --strategy one")
    preparing.prepare(trainee, replace(task, strategy=Strategy.ONE), strategies.engine(Strategy.ONE)).feed.close()
    servers = SERVERS if task.strategy is Strategy.PARAMETER_SERVER else 0
    with tempfile.TemporaryDirectory(prefix="mlopt-cluster-") as folder, tracking.tracked(task) as tracker:
        place = Path(folder)
        (place / REQUEST).write_bytes(_packed(trainee, replace(task, track="")))

        def relay(event: dict[str, Any]) -> None:
            if "epoch_facts" in event:
                tracker.epoch(plain.from_plain(event["epoch_facts"], EpochFacts), event["step"])
            else:
                on_event(event)

        result = cluster.train(str(place / REQUEST), servers, relay)
        with np.load(place / RESULT, allow_pickle=False) as found:
            for i, variable in enumerate(trainee.keras_model.weights):
                variable.assign(found[f"w{i}"])
    return replace(result, notes=(*result.notes, *tracker.notes))


def write_result(request: Path, model: Any) -> None:
    """The weights, in Keras's order, where `fit` looks for them."""
    arrays = {f"w{i}": variable.numpy() for i, variable in enumerate(model.weights)}
    np.savez(request.parent / RESULT, allow_pickle=False, **arrays)


def unpacked(request: Path) -> tuple[Twin, FitTask]:
    """What `fit` wrote; only for files that it wrote, since reading one can run code."""
    plan, signature, network, activations, values, names, task = pickle.loads(request.read_bytes())  # noqa: S301  # our parent's
    built = build(plan)
    for variable, value in zip(built.model.weights, values, strict=True):
        variable.assign(value)
    variables = {name: built.model.weights[i] for name, i in names.items()}
    return Twin(plan, built, signature, network, activations, variables), task


def _packed(trainee: Any, task: FitTask) -> bytes:
    weights = trainee.keras_model.weights
    place = {id(variable): i for i, variable in enumerate(weights)}
    names = {name: place[id(variable)] for name, variable in trainee.variables.items() if id(variable) in place}
    content = io.BytesIO()
    pickler = _Pickler(content)
    try:
        pickler.dump(
            (trainee.plan, trainee.signature, trainee.network, trainee.output_activations,
             [np.array(w.numpy()) for w in weights], names, task)
        )
    except (pickle.PicklingError, AttributeError, TypeError) as err:
        raise BadRequest(
            f"this training cannot be handed to other processes ({err}): train it with --strategy one or mirrored"
        ) from err
    return content.getvalue()


class _Pickler(pickle.Pickler):
    """Knows the classes of layers on a grid, which are made at run time."""

    def reducer_override(self, obj: Any) -> Any:
        from mlopt.frameworks.keras.grid.layers import OnGrid, on_grid

        if isinstance(obj, type) and issubclass(obj, OnGrid) and obj is not OnGrid and not _importable(obj):
            return on_grid, (obj.__mro__[2],)
        return NotImplemented


def _importable(kind: type) -> bool:
    import importlib

    return getattr(importlib.import_module(kind.__module__), kind.__qualname__, None) is kind
