"""What an ONNX file really stores, and in which type ONNX Runtime really computes, read back from the file."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper

from mlopt.artifact import Storage, StoredLayer
from mlopt_onnx.graph import Graph, attributes, read_model
from mlopt_onnx.session import open_session

KERNEL_INPUTS = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (1,),
    "MatMul": (0, 1),
    "Gather": (0,),
    "LSTM": (1, 2),
    "GRU": (1, 2),
    "RNN": (1, 2),
}


def read_storage(file: Path) -> Storage:
    """Kernels by dtype (through DequantizeLinear or Cast, where those stand between), layers, and running types."""
    model = read_model(file)
    graph = Graph.of(model)
    producers, types = graph.producers(), graph.types()
    weights: Counter[str] = Counter()
    layers = []
    kernels: set[str] = set()
    for index, node in enumerate(graph.nodes):
        places = [i for i in KERNEL_INPUTS.get(node.op_type, ()) if i < len(node.input)]
        found = [_stored(graph, producers, node.input[i]) for i in places]
        held = [h for h in found if h is not None and graph.constants[h[0]].ndim > 1 and h[0] not in kernels]
        if not held:
            continue
        kernels.update(h[0] for h in held)
        arrays = [graph.constants[h[0]] for h in held]
        weights.update({str(a.dtype): a.size for a in arrays})
        aside = [graph.constants[n] for h in held for n in h[1]]
        layers.append(
            StoredLayer(
                name=node.name or f"{node.op_type}#{index}",
                op=node.op_type,
                weight_dtype=str(arrays[0].dtype),
                activation_dtype=_activation(node, producers, types),
                elements=sum(a.size for a in arrays),
                bytes=sum(a.nbytes for a in (*arrays, *aside)),
            )
        )
    biases = _biases(graph, kernels)
    if biases:
        weights["bias"] = sum(a.size for a in biases)
    owned = sum(layer.bytes for layer in layers) + sum(a.nbytes for a in biases)
    return Storage(
        weights_by_dtype=dict(weights),
        ops_by_dtype=_running_types(model, file),
        layers=tuple(layers),
        overhead_bytes=file.stat().st_size - owned,
    )


def _stored(graph: Graph, producers: dict[str, NodeProto], name: str) -> tuple[str, tuple[str, ...]] | None:
    """The constant behind `name`, with the scales and zero points that belong to it; None where it is computed."""
    if name in graph.constants:
        return name, ()
    node = producers.get(name)
    if node is None or node.op_type not in {"DequantizeLinear", "Cast", "Transpose", "Reshape"}:
        return None
    found = _stored(graph, producers, node.input[0])
    aside = tuple(n for n in node.input[1:] if n in graph.constants) if node.op_type == "DequantizeLinear" else ()
    return None if found is None else (found[0], found[1] + aside)


def _biases(graph: Graph, kernels: set[str]) -> list[np.ndarray]:
    """Trained vectors beside the kernels: every constant that takes part in arithmetic and is no quantization scale."""
    helpers = {
        name
        for node in graph.nodes
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}
        for name in node.input[1:]
    }
    shaping = {
        name
        for node in graph.nodes
        for i, name in enumerate(node.input)
        if i > 0 and node.op_type in {"Reshape", "Squeeze", "Unsqueeze", "Pad", "Slice", "Resize", "Expand", "Clip"}
    }
    return [
        a
        for n, a in graph.constants.items()
        if n not in kernels | helpers | shaping and a.ndim > 0 and (a.dtype.kind == "f" or a.dtype == np.int32)
    ]


def _activation(node: NodeProto, producers: dict[str, NodeProto], types: dict[str, int]) -> str:
    source = producers.get(node.input[0])
    name = source.input[0] if source is not None and source.op_type == "DequantizeLinear" else node.input[0]
    number = types.get(name, TensorProto.FLOAT) or TensorProto.FLOAT
    return str(helper.tensor_dtype_to_np_dtype(number))


def _running_types(model: onnx.ModelProto, name: Path) -> dict[str, int]:
    """Operations by the type of their output in the graph that ONNX Runtime makes of the file before it runs it.

    Casts and the steps between number formats are not counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        open_session(model.SerializeToString(), name=name, options=options)
        lowered = onnx.load(options.optimized_model_filepath).graph
    kinds = {t.name: t.data_type for t in lowered.initializer}
    kinds.update((p.name, p.type.tensor_type.elem_type) for p in lowered.input)
    count: Counter[str] = Counter()
    for node in lowered.node:
        kind = _output_type(node, kinds)
        kinds.update((name, kind) for name in node.output)
        if node.op_type not in {"Cast", "QuantizeLinear", "DequantizeLinear"}:
            count[str(helper.tensor_dtype_to_np_dtype(kind))] += 1
    return dict(count)


def _output_type(node: NodeProto, kinds: dict[str, int]) -> int:
    settings = attributes(node)
    if node.op_type == "Cast":
        return settings["to"]
    if node.op_type == "DequantizeLinear":
        return kinds.get(node.input[1], TensorProto.FLOAT)
    if node.op_type == "QuantizeLinear":
        return kinds.get(node.input[2], TensorProto.UINT8) if len(node.input) > 2 else TensorProto.UINT8
    if node.op_type == "QGemm" and len(node.input) < 8:
        return TensorProto.FLOAT
    if node.op_type in {"QLinearConcat"}:
        return kinds.get(node.input[1], TensorProto.UINT8)
    if node.op_type in {"DequantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}:
        return TensorProto.FLOAT
    if node.op_type == "Where":
        return kinds.get(node.input[1], TensorProto.FLOAT)
    if node.op_type in {"Shape", "Size"}:
        return TensorProto.INT64
    return next((kinds[n] for n in node.input if kinds.get(n)), TensorProto.FLOAT)
