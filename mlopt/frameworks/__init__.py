"""A trainable model at the edge: one protocol, and each framework behind it, imported late."""

from typing import TYPE_CHECKING

from mlopt.location import ModelLocation

if TYPE_CHECKING:
    from mlopt.frameworks.fitting import Strategy
    from mlopt.frameworks.protocol import TensorFlowModel, TrainableModel


def open_model(location: ModelLocation) -> "TensorFlowModel":
    """Open a trained model: a Keras .h5, a .keras file or a SavedModel folder, told apart by content.

    Code that the file carries (Lambda layers, file operations) is refused unless the location says that it is trusted.
    Raises `ModelUnreadable` or `UntrustedCode`. Imports TensorFlow: for worker processes.
    """
    from mlopt.frameworks.sniff import sniff

    sniffed = sniff(location.path)      # a file that is no model fails before TensorFlow is imported
    from mlopt.frameworks.keras.opening import open_sniffed

    return open_sniffed(sniffed, location)


def check_devices(strategy: "Strategy") -> None:
    """Raise `BadRequest` where the devices of a strategy are not there. Imports TensorFlow: for worker processes."""
    from mlopt.frameworks.keras.fitting import strategies

    strategies.check(strategy)


def open_trainable(location: ModelLocation) -> "TrainableModel":
    """Open a model that can be taken apart and trained: what `open_model` opens, or a folder that `save` wrote.

    Raises `BadRequest` for a model without layers that can be changed: a SavedModel, a Keras 3 model that has no
    counterpart in the legacy Keras. Imports TensorFlow: for worker processes.
    """
    from mlopt.frameworks.keras.network.model import open_trainable as open_keras

    return open_keras(location)
