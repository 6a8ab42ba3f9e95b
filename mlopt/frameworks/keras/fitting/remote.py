"""A network that another process of ours trains on: its plan and its values, as JSON and arrays."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlopt import plain
from mlopt.frameworks.keras.fitting.packing import packed, unpacked
from mlopt.frameworks.keras.fitting.stepper import KerasStepper, stepper
from mlopt.frameworks.keras.fitting.strategies import Engine
from mlopt.frameworks.keras.fitting.student import Trainee
from mlopt.frameworks.keras.network.building import Built, build
from mlopt.frameworks.keras.network.plan import Plan
from mlopt.frameworks.stepper import Lesson
from mlopt.model import Signature
from mlopt.network import Network

MODEL, ARRAYS = "model.json", "model.npz"


@dataclass(frozen=True)
class Twin:
    """A `Trainee` as it arrives in another process; `engine` trains it."""

    plan: Plan
    built: Built
    signature: Signature
    network: Network
    output_activations: tuple[str, ...]
    variables: Mapping[str, Any]
    engine: Engine | None = None
    framework: str = "keras"

    @property
    def keras_model(self) -> Any:
        return self.built.model

    def weights(self) -> dict[str, np.ndarray]:
        return {name: np.array(variable.numpy()) for name, variable in self.variables.items()}

    def stepper(self, lesson: Lesson) -> AbstractContextManager[KerasStepper]:
        return stepper(self, lesson, self.engine)

    def hand_over(self, folder: Path) -> None:
        hand_over(self, self.plan, folder)


def hand_over(trainee: Trainee, plan: Plan, folder: Path) -> None:
    """Write what `received` reads. Raises `BadRequest` for a network that JSON cannot tell."""
    weights = trainee.keras_model.weights
    place = {id(variable): i for i, variable in enumerate(weights)}
    told, arrays = packed(plan)
    content = {
        "plan": told, "signature": plain.to_plain(trainee.signature), "network": plain.to_plain(trainee.network),
        "activations": list(trainee.output_activations),
        "names": {name: place[id(v)] for name, v in trainee.variables.items() if id(v) in place},
    }
    (folder / MODEL).write_text(json.dumps(content))
    arrays |= {f"w{i}": variable.numpy() for i, variable in enumerate(weights)}
    np.savez(folder / ARRAYS, allow_pickle=False, **arrays)


def received(folder: Path, engine: Engine | None = None) -> Twin:
    """What `hand_over` wrote; only for folders that a process of ours wrote, since it imports what they name."""
    content = json.loads((folder / MODEL).read_text())
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        plan = unpacked(content["plan"], arrays)
        built = build(plan)
        for i, variable in enumerate(built.model.weights):
            variable.assign(arrays[f"w{i}"])
    return Twin(
        plan, built, plain.from_plain(content["signature"], Signature),
        plain.from_plain(content["network"], Network), tuple(content["activations"]),
        {name: built.model.weights[i] for name, i in content["names"].items()}, engine,
    )
