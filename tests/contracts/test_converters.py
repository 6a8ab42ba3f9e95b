"""Our own converters, and the one of the how-to, held to what is asked of anyone's."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/examples"))

from mlopt_zipped import ZippedConverter

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


class TestExampleOfTheHowTo(ConverterContract):
    door = ZippedConverter()
    models = ("small_convnet",)
