"""What slimming takes out of a TFLite file, and the proof that it changes nothing."""


import numpy as np
import pytest
from mlopt_tflite import flatfile, slim
from mlopt_tflite.packing import pack

pytestmark = pytest.mark.filterwarnings(
    # LiteRT says that keeping every tensor costs memory, which is what was asked for
    "ignore:.*experimental_preserve_all_tensors.*:UserWarning"
)


@pytest.mark.parametrize("name", ["small_convnet", "small_transformer", "mobile_block"])
def test_a_slim_file_computes_the_same_bits_and_is_a_fixed_point(exported, name):
    model = flatfile.read(exported(name).file)
    fat = pack(with_ballast(model))
    thin = pack(slim.slimmed(flatfile.parse(fat, "fat")))
    proof = slim.prove(fat, thin)
    assert proof.identical and proof.bytes_after < proof.bytes_before
    assert thin == pack(slim.slimmed(flatfile.parse(thin, "thin"))) == exported(name).file.read_bytes()


def with_ballast(model):
    """What converters leave in a file: names, a description, metadata, empty quantization, an unused tensor."""
    from ai_edge_litert import schema_py_generated as schema

    ports = {*model.subgraphs[0].inputs, *model.subgraphs[0].outputs}
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        if index not in ports:
            tensor.name = f"model/layer_{index}/BiasAdd;model/layer_{index}/Conv2D"
        tensor.quantization = tensor.quantization or schema.QuantizationParametersT()
        tensor.shapeSignature = tensor.shape
    model.subgraphs[0].tensors.append(schema.TensorT(shape=[3], type=0, buffer=0, name="nobody reads this"))
    model.buffers.append(schema.BufferT(data=np.frombuffer(b"2.19.0".ljust(16, b"\0"), np.uint8)))
    model.metadata = [schema.MetadataT(name="min_runtime_version", buffer=len(model.buffers) - 1)]
    model.description = "MLIR Converted."
    return model


def test_slimming_keeps_signature_and_port_names(exported):
    model = flatfile.read(exported("two_inputs_two_outputs").file)
    assert set(flatfile.input_names(model)) == {"image", "extra"}
    assert set(flatfile.output_names(model)) == {"kind", "size"}
    tensors = model.subgraphs[0].tensors
    assert all(tensors[i].name for i in (*model.subgraphs[0].inputs, *model.subgraphs[0].outputs))


def test_weights_lie_on_16_byte_boundaries(exported):
    content = exported("small_convnet").file.read_bytes()
    model = flatfile.parse(content, "file")
    kept = [b.data.tobytes() for b in model.buffers if b.data is not None and len(b.data) >= 32]
    assert kept and all(content.find(raw) % 16 == 0 for raw in kept)


def test_equal_buffers_are_stored_once(exported):
    model = flatfile.read(exported("autoencoder").file)
    before = len(pack(slim.slimmed(model)))
    tensors = model.subgraphs[0].tensors
    for tensor in tensors:
        if flatfile.is_constant(model, tensor):
            model.buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = len(model.buffers) - 1
    assert len(pack(slim.slimmed(model))) == before


def test_a_file_that_computes_something_else_fails_the_proof(exported):
    case = exported("autoencoder")
    model = flatfile.read(case.file)
    weights = next(b for b in model.buffers if b.data is not None and len(b.data) > 200)
    weights.data = weights.data.copy()
    weights.data[:40] = 0
    assert not slim.prove(case.file.read_bytes(), pack(model)).identical


# files that are not what they seem
