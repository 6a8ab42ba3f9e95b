"""A tiny real file of each format, made once."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_tflite(tmp_path_factory) -> Path:
    """The small residual network in float32, by TensorFlow's own converter."""
    import tensorflow as tf

    from mlopt.testing.tiny import TinyModel, build

    model = build("small_convnet")
    function = TinyModel(model).concrete_function(1)
    file = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    file.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], model).convert())
    return file


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory) -> Path:
    """Two convolutions with ReLU on an 8x8 image, then a mean."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in (("w1", (8, 3, 3, 3)), ("w2", (8, 8, 3, 3)))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], name="first_relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], name="second", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["c"], ["y"], name="mean"),
    ]
    graph = helper.make_graph(
        nodes, "tiny", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 8, 1, 1))], weights,
    )
    file = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
    return file
