"""Our own converters, held to what is asked of anyone's."""

from mlopt import plugins
from mlopt.testing.converters import ConverterContract


class TestTFLite(ConverterContract):
    door = plugins.load_converter("tflite")
    models = ("small_convnet", "depthwise_convnet", "two_inputs_two_outputs")


class TestOnnx(ConverterContract):
    door = plugins.load_converter("onnx")
    models = ("small_convnet", "depthwise_convnet", "two_inputs_two_outputs")


class TestCoreML(ConverterContract):
    door = plugins.load_converter("coreml")
