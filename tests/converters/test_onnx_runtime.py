"""Opening ONNX files, wholesome and hostile; predicting; timing one inference."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlopt_onnx.graph import read_model
from mlopt_onnx.runtime import open_runtime, read_storage
from onnx import TensorProto, helper, numpy_helper

from mlopt.errors import MloptError, ModelUnreadable
from mlopt.model import Signature, TensorSpec


def spec(name: str, *sizes: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=(None, *sizes), dtype=dtype, layout="N" + "?" * len(sizes))


SIGNATURE = Signature(inputs=(spec("a", 2), spec("b", 2)), outputs=(spec("sum", 2), spec("difference", 2)))


def model(**changes) -> onnx.ModelProto:
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2]) for n in ("x", "y", "plus", "minus")]
    nodes = [helper.make_node("Add", ["x", "y"], ["plus"]), helper.make_node("Sub", ["x", "y"], ["minus"])]
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:], **changes)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(model().SerializeToString())
    return path


def test_predict_speaks_the_sources_names_and_takes_any_count(file):
    runtime = open_runtime(file, SIGNATURE)
    for count in (1, 63, 64, 65, 130):
        a, b = np.random.default_rng(count).normal(size=(2, count, 2)).astype(np.float32)
        found = runtime.predict({"b": b, "a": a})
        assert list(found) == ["sum", "difference"]
        np.testing.assert_array_equal(found["sum"], a + b)
        np.testing.assert_array_equal(found["difference"], a - b)


def test_predict_of_no_samples_gives_no_rows(file):
    none = np.zeros((0, 2), np.float32)
    found = open_runtime(file, SIGNATURE).predict({"a": none, "b": none})
    assert {name: array.shape for name, array in found.items()} == {"sum": (0, 2), "difference": (0, 2)}


def test_predict_takes_other_number_types(file):
    found = open_runtime(file, SIGNATURE).predict({"a": np.ones((1, 2), np.uint8), "b": np.ones((1, 2), np.float64)})
    assert found["sum"].dtype == np.float32 and found["sum"].tolist() == [[2.0, 2.0]]


def test_invoke_runs_what_was_staged_last(file):
    runtime = open_runtime(file, SIGNATURE)
    for value in (1.0, 5.0):
        runtime.stage({"a": np.full((1, 2), value), "b": np.zeros((1, 2))})
        runtime.invoke()
        assert runtime._binding.copy_outputs_to_cpu()[0].tolist() == [[value, value]]


def test_the_contract_maps_names_in_the_order_of_the_signature(file):
    contract = open_runtime(file, SIGNATURE).contract
    assert [(p.name, p.stored_name) for p in contract.inputs] == [("a", "x"), ("b", "y")]
    assert [(p.name, p.stored_name) for p in contract.outputs] == [("sum", "plus"), ("difference", "minus")]


def test_a_file_of_another_source_is_refused(file):
    with pytest.raises(ModelUnreadable, match="has 2 inputs and 2 outputs, where the source has 1 and 2"):
        open_runtime(file, Signature(inputs=SIGNATURE.inputs[:1], outputs=SIGNATURE.outputs))


@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"\x08\x08", b"\xff" * 64], ids=["empty", "text", "bare", "noise"]
)
def test_what_is_no_onnx_is_refused(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for opened in (lambda: open_runtime(path, SIGNATURE), lambda: read_storage(path)):
        with pytest.raises(ModelUnreadable):
            opened()


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelUnreadable, match="cannot be read"):
        open_runtime(tmp_path / "none.onnx", SIGNATURE)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4))
def test_a_damaged_file_opens_or_raises_our_error_and_nothing_else(cut, flips, tmp_path):
    data = bytearray(model().SerializeToString())
    for place, value in flips:
        data[int(place * (len(data) - 1))] = value
    path = tmp_path / "damaged.onnx"
    path.write_bytes(bytes(data[: int(cut * len(data))] if not flips else data))
    for opened in (lambda: open_runtime(path, SIGNATURE), lambda: read_storage(path)):
        try:
            opened()
        except MloptError as err:
            assert str(path) in str(err)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "weights.bin"])
def test_weights_in_another_file_are_never_opened(location, tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 8)
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"\0" * 8)
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = folder / "model.onnx"
    path.write_bytes(model(initializer=[tensor]).SerializeToString())
    for opened in (lambda: open_runtime(path, SIGNATURE), lambda: read_storage(path), lambda: read_model(path)):
        with pytest.raises(ModelUnreadable, match="other files") as caught:
            opened()
        assert location in str(caught.value)


def test_external_weights_hidden_in_a_nested_body_are_found(tmp_path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    body = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=tensor)],
        "b",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [2])],
    )
    proto = model()
    proto.graph.node.add(op_type="If", input=["x"], output=["z"]).attribute.extend(
        [helper.make_attribute("then_branch", body), helper.make_attribute("else_branch", body)]
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelUnreadable, match="other files"):
        read_model(path)


def test_an_operation_that_the_runtime_lacks_is_told_in_its_words(tmp_path):
    proto = model()
    proto.graph.node[0].domain = "nobody.knows"
    proto.opset_import.append(helper.make_opsetid("nobody.knows", 1))
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelUnreadable, match="ONNX Runtime"):
        open_runtime(path, SIGNATURE)


def test_storage_counts_kernels_biases_and_the_rest(tmp_path):
    weights, bias = np.ones((4, 3), np.float32), np.ones(3, np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="dense")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    path = tmp_path / "model.onnx"
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    storage = read_storage(path)
    assert storage.weights_by_dtype == {"float32": 12, "bias": 3}
    assert storage.ops_by_dtype == {"float32": 1}
    assert storage.overhead_bytes == path.stat().st_size - 4 * (12 + 3)
    (layer,) = storage.layers
    assert (layer.name, layer.op, layer.weight_dtype, layer.activation_dtype) == ("dense", "Gemm", "float32", "float32")
    assert (layer.elements, layer.bytes) == (12, 48)
