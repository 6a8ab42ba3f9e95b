"""What the exporters of Keras models and SavedModels build on."""

from typing import Any, Protocol

from mlopt.frameworks.protocol import TrainedModel


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
