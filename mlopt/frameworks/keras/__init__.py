"""Keras models and SavedModels, opened by TensorFlow; every module but this one and `sniff` imports it."""

from collections.abc import Mapping
from types import MappingProxyType

from mlopt.extras import Package
from mlopt.location import ModelLocation

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": "{own}/keras",
}


class KerasFramework:
    """The door of the framework; everything behind it is named by text and imported late."""

    name = "keras"
    extra = "keras"
    takes = "trained Keras models: a .h5 or .hdf5 file, a .keras file, or a SavedModel folder"
    imports = frozenset({"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"})
    gives = "opens Keras and TensorFlow models"
    packages = (Package("tensorflow"), Package("tf_keras"), Package("keras"))
    needs_to_export = packages[:2]
    environment: Mapping[str, str] = MappingProxyType(_ENVIRONMENT)
    open = "mlopt.frameworks.keras.opening:open_model"
    open_trainable = "mlopt.frameworks.keras.network.model:open_trainable"
    check_devices = "mlopt.frameworks.keras.fitting.strategies:check"
    member = "mlopt.frameworks.keras.fitting.member:take_part"
    cluster_variable = "TF_CONFIG"

    def check(self, location: ModelLocation) -> None:
        from mlopt.frameworks.keras.sniff import check_kind

        check_kind(location.path)

    def answers_only(self, location: ModelLocation) -> bool:
        """A SavedModel is a graph without layers."""
        return (location.path / "saved_model.pb").is_file()
