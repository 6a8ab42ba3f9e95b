"""The runner's readers of model files, against the libraries of those formats."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mlopt.profiling.runner import litert_file, onnx_file, onnx_mapping, values
from mlopt.profiling.runner.litert import tensor_arena
from mlopt.profiling.runner.litert_mapping import mapped


def test_weight_bytes_and_constants_are_those_that_the_schema_reads(tiny_tflite):
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(tiny_tflite.read_bytes(), 0))
    sizes = [0 if b.data is None else len(b.data) for b in model.buffers]
    tensors = model.subgraphs[0].tensors
    assert litert_file.weight_bytes(str(tiny_tflite)) == sum(sizes[b] for b in {t.buffer for t in tensors}) > 0
    assert litert_file.constant_tensors(str(tiny_tflite)) == {i for i, t in enumerate(tensors) if sizes[t.buffer]}


@given(st.data())
def test_a_broken_tflite_file_is_refused_and_never_read_outside_itself(tiny_tflite, tmp_path_factory, data):
    content = bytearray(tiny_tflite.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    broken = tmp_path_factory.mktemp("broken") / "b.tflite"
    broken.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        assert litert_file.weight_bytes(str(broken)) >= 0
    except ValueError as err:
        assert "TFLite" in str(err)


def test_the_arena_is_smaller_than_all_activations_and_no_smaller_than_the_largest(tiny_tflite):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(tiny_tflite), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    constant = litert_file.constant_tensors(str(tiny_tflite))
    live = [d for d in interpreter.get_tensor_details() if d["index"] not in constant]
    sizes = [int(np.prod(d["shape"])) * np.dtype(d["dtype"]).itemsize for d in live]
    assert max(sizes) <= tensor_arena(str(tiny_tflite)) <= sum(sizes) + 64 * len(sizes)


def dense_onnx(path, *, raw=True):
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    if not raw:
        weight = helper.make_tensor("w", TensorProto.FLOAT, (4, 3), [1.0] * 12)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="dense"), helper.make_node("Relu", ["y"], ["z"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 3))], [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.mark.parametrize("raw", [True, False])
def test_onnx_weights_and_nodes_are_read_without_the_library(tmp_path, raw):
    file = str(dense_onnx(tmp_path / "m.onnx", raw=raw))
    assert onnx_file.weight_bytes(file) == 4 * 3 * 4
    dense, relu = onnx_file.nodes(file)
    assert (dense.name, dense.op, dense.inputs, dense.outputs) == ("dense", "MatMul", ("x", "w"), ("y",))
    assert (relu.name, relu.op) == ("", "Relu")


def test_weights_in_a_file_beside_the_onnx_file_count(tmp_path):
    model = onnx.load(dense_onnx(tmp_path / "m.onnx"))
    onnx.save(model, tmp_path / "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    assert onnx_file.weight_bytes(str(tmp_path / "e.onnx")) == 48


@given(st.binary(max_size=200))
def test_bytes_that_are_no_onnx_file_are_refused(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("broken") / "b.onnx"
    file.write_bytes(content)
    try:
        assert onnx_file.weight_bytes(str(file)) >= 0
    except ValueError as err:
        assert str(err)


def node(name, op, inputs, outputs):
    return onnx_file.Node(name, op, tuple(inputs), tuple(outputs))


def test_a_fused_kernel_is_named_for_the_node_that_does_its_operation():
    nodes = [node("conv", "Conv", "x", ["a"]), node("act", "Relu", ["a"], ["b"]), node("", "Add", ["b"], ["c"])]
    kernels = [("b_nchwc", "Conv"), ("QLinearAdd_7", "QLinearAdd"), ("ReorderOutput", "ReorderOutput")]
    assert onnx_mapping.mapped(kernels, nodes) == [nodes[0], nodes[2], None]


def test_kernels_that_lost_their_names_stay_without_a_layer_when_counts_differ():
    nodes = [node("a1", "Add", "x", ["p"]), node("a2", "Add", "p", ["q"])]
    assert onnx_mapping.mapped([("QLinearAdd_7", "QLinearAdd")], nodes) == [None]


def test_xnnpack_operations_find_the_files_ones_across_fusions_copies_and_own_kernels():
    graph = ["QUANTIZE", "PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    executed = (
        (8, "Convert (NC)", 0), (8, "Convolution (NHWC, QC8) IGEMM", 1), (8, "Clamp (NC)", 2),
        (8, "Convolution (NHWC, QC8) DWConv", 3), (2, "MEAN", 4), (8, "Copy (NC, X8)", 0),
        (8, "Static Reshape (NC)", 1), (8, "Fully Connected (NC, QS8, QC8W) GEMM", 2), (2, "SOFTMAX", 7),
    )
    assert mapped(executed, graph) == [0, 2, 2, 3, 4, 5, -1, 6, 7]


def test_own_kernels_numbered_unlike_the_graph_get_no_layer():
    assert mapped(((2, "ADD", 0), (2, "MUL", 1)), ["MUL", "MUL"]) == [-1, 1]


def test_input_values_are_seeded_and_safe_for_their_type():
    first = values.random("x", (3, 4), np.int8, 1)
    assert (first == values.random("x", (3, 4), np.int8, 1)).all() and first.dtype == np.int8
    assert (first != values.random("y", (3, 4), np.int8, 1)).any()
    assert not values.random("ids", (5,), np.int64, 1).any()
    assert values.random("f", (2,), np.float16, 1).dtype == np.float16
    with pytest.raises(ValueError, match="names is"):
        values.random("names", (1,), "U8", 1)
