"""What a framework gives to everything that comes after it. Lives in that framework's worker process only."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from mlopt.model import SourceModel


class TrainedModel(Protocol):
    """A trained model, opened."""

    @property
    def source(self) -> SourceModel: ...

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Float32 outputs [N, ...] by output name, for one batch of inputs [N, ...] by input name; inference mode."""
        ...

    def synthesise(self, count: int, seed: int) -> tuple[dict[str, np.ndarray], str]:
        """Inputs [count, ...] made from the model itself, and one sentence on how and how far to trust them."""
        ...


class TensorFlowModel(TrainedModel, Protocol):
    """What the exporters of TensorFlow-family models (Keras, SavedModel) build on."""

    @property
    def trackable(self) -> Any:
        """The TensorFlow object that owns the variables of the function."""
        ...

    def concrete_function(self, batch: int | None) -> Any:
        """A `tf.ConcreteFunction` with `batch` rows, or any number where None.

        Its inputs carry the signature's names; its structured output is a dict by the signature's output names.
        """
        ...
