"""Keras models and SavedModels, opened by TensorFlow; every module in here but this one imports it."""


class KerasFramework:
    """The door of the framework; everything behind it is named by text and imported late."""

    name = "keras"
    extra = "keras"
    imports = frozenset({"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"})
    member = "mlopt.frameworks.keras.fitting.member:joined"
    packages = ("tensorflow", "tf_keras", "keras")
