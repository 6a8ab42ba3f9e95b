"""Real runners and runtimes at the far end: a board with our Python runner, a phone with the native one."""

import math
import sys

import flatbuffers
import numpy as np
import onnx
import pytest
import sshd
from adb_device import AdbDevice
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from mlopt.profiling.contract import RunRequest
from mlopt.profiling.targets.adb import AdbTarget
from mlopt.profiling.targets.ssh import SshTarget


@pytest.fixture
def onnx_file(tmp_path):
    """One matrix product of 64 by 64."""
    weights = numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])], [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "product.onnx")
    return tmp_path / "product.onnx"


@pytest.fixture
def tflite_file(tmp_path):
    """One addition of 1024 numbers, written with LiteRT's own schema: no converter is needed."""
    def named(kind, **fields):
        made = kind()
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    def tensor(name, buffer):
        return named(schema.TensorT, name=name, shape=[1, 1024], type=schema.TensorType.FLOAT32, buffer=buffer)

    constant = np.ones(1024, np.float32).tobytes()
    add = named(schema.OperatorCodeT, deprecatedBuiltinCode=schema.BuiltinOperator.ADD,
                builtinCode=schema.BuiltinOperator.ADD, version=1)
    operator = named(schema.OperatorT, opcodeIndex=0, inputs=[0, 1], outputs=[2], builtinOptions=schema.AddOptionsT(),
                     builtinOptionsType=schema.BuiltinOptions.AddOptions)
    graph = named(schema.SubGraphT, name="main", tensors=[tensor("x", 0), tensor("one", 1), tensor("y", 0)], inputs=[0],
                  outputs=[2], operators=[operator])
    buffers = [named(schema.BufferT, data=[]), named(schema.BufferT, data=list(constant))]
    model = named(schema.ModelT, version=3, operatorCodes=[add], subgraphs=[graph], buffers=buffers)
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "add.tflite").write_bytes(builder.Output())
    return tmp_path / "add.tflite"


def test_a_board_measures_an_onnx_file(shared_board, onnx_file, tmp_path):
    (tmp_path / "there").mkdir()
    target = SshTarget(f"{sshd.HOST},python={sys.executable},folder={tmp_path / 'there'}", config=shared_board.config)
    request = RunRequest(file="", format="onnx", nonce="abc", runs=20, most_seconds=2)
    result = target.measure(onnx_file, request)
    target.close()
    assert result.error == "" and result.nonce == "abc" and len(result.samples_us) == 20
    assert min(result.samples_us) > 0 and result.phases.first_ms > 0
    assert result.facts.name == target.facts().name and "ONNX Runtime" in result.facts.runtime
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.usefixtures("phone_like_this_host")
def test_a_phone_measures_a_tflite_file_with_the_native_runner(adb, tmp_path, tflite_file):
    with AdbDevice(folder=tmp_path / "phone", properties={"ro.product.cpu.abi": "x86_64"}).running() as phone:
        target = AdbTarget(f"{phone.serial},folder={phone.tmp}", server=adb)
        request = RunRequest(file="", format="tflite", nonce="abc", runs=20, most_seconds=2)
        result = target.measure(tflite_file, request)
        assert result.error == "" and result.nonce == "abc" and len(result.samples_us) == 20
        assert min(result.samples_us) > 0 and result.phases.compile_ms > 0
        assert not math.isnan(result.facts.temperature_c)
        assert result.memory.file == tflite_file.stat().st_size
        assert result.facts.name == "Pixel 7, Android 15" and result.facts.runtime.startswith("LiteRT ")
        assert [path.name[:10] for path in phone.tmp.iterdir()] == ["mlopt-kit-"]       # the runner stays, nothing else
