"""A TensorFlow-family model to the float32 ONNX file. Runs in the worker that sees TensorFlow.

tf2onnx translates the frozen graph, in process and below its own front door: see `private.tf2onnx`.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf
from onnx import ModelProto, helper

from mlopt.artifact import Made
from mlopt.errors import UnsupportedOps
from mlopt.frameworks.keras.exportable import TensorFlowModel
from mlopt.model import Signature, TensorSpec
from mlopt_onnx import fuse, recognise, symbolic, tidy
from mlopt_onnx.einsum import lower_einsum
from mlopt_onnx.graph import IR_VERSION, OPSET, Graph, copy_of, write_model
from mlopt_onnx.names import layer_of, name_nodes, name_ports, shorten_tensors
from mlopt_onnx.private import tf2onnx
from mlopt_onnx.private.tensorflow import convert_variables_to_constants_v2
from mlopt_onnx.shrink import drop_defaults

EXACT: tuple[Callable[[Graph], bool], ...] = (
    symbolic.fold_shapes,
    tidy.fold_constants,
    tidy.drop_no_ops,
    tidy.share_constants,
    tidy.share_nodes,
    lower_einsum,
    recognise.lower_erfc,
    recognise.fuse_layer_norm,
    recognise.fuse_clips,
    recognise.drop_zero_states,
    tidy.sink_squeezes,
    tidy.sink_pads,
    tidy.join_reshapes,
    tidy.whole_picture_pools,
    tidy.shorten_layout,
    fuse.matmul_to_gemm,
    fuse.plain_gemm,
    fuse.fuse_affine,
    fuse.fuse_affine_behind_reshape,
    tidy.drop_dead,
)
MOST_ROUNDS = 10_000  # each round removes or joins a node; this bound only stops a bug from looping for ever


def export(model: TensorFlowModel, signature: Signature, dest: Path) -> Made:
    """Write `model` to `dest` as float32 ONNX with a free batch dimension named "N"."""
    layers = [facts.name for facts in model.source.layers]
    graph = Graph.of(_translate(model.concrete_function(None), signature, layers))
    clean(graph)
    _refuse_unknown_ops(graph)
    drop_defaults(graph)
    name_ports(graph, signature)
    shorten_tensors(graph)
    name_nodes(graph)
    proto = graph.model()
    onnx.checker.check_model(proto, full_check=True)
    write_model(proto, dest)
    return Made(path=dest)


def clean(graph: Graph) -> None:
    """Apply every exact clean-up until none changes anything."""
    for _ in range(MOST_ROUNDS):
        if not any([change(graph) for change in EXACT]):
            break
    else:
        raise AssertionError("the clean-ups of the ONNX graph undo each other")


def _translate(
    function: tf.types.experimental.ConcreteFunction, signature: Signature, layers: Sequence[str]
) -> ModelProto:
    # Loops stay whole: tf2onnx recognises an LSTM or GRU by its loop.
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
    inputs = [t.name for t in frozen.inputs]
    place = {t.name: i for i, t in enumerate(function.outputs)}
    structured = function.structured_outputs
    outputs = [frozen.outputs[place[structured[s.name].name]].name for s in signature.outputs]
    graph_def = frozen.graph.as_graph_def(add_shapes=True)
    # without its search for the best Einsum, which takes seconds: `lower_einsum` writes a MatMul
    passes = {name: made for name, made in tf2onnx.optimizers().items() if name != "einsum_optimizer"}
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # it reports each unknown op twice; we name them once
    with tf.device("/cpu:0"):
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
            graph_def = tf2onnx.tf_optimize(inputs, outputs, graph_def)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
            converted = tf2onnx.process_tf_graph(graph, opset=OPSET, input_names=inputs, output_names=outputs)
            converted = tf2onnx.optimize_graph(converted, catch_errors=False, optimizers=passes)
            proto = converted.make_model("mlopt")
    placeholders = {t.name.partition(":")[0]: t.name for t in frozen.inputs}
    return _with_ports(proto, placeholders, outputs, signature, layers)


def _with_ports(
    proto: ModelProto, placeholders: dict[str, str], outputs: list[str], signature: Signature, layers: Sequence[str]
) -> ModelProto:
    """The same model between the signature's inputs and outputs, in its order; Identity nodes lead to them.

    The prefixes hold a space, which no TensorFlow name does, so that nothing clashes before names are cleaned.
    """
    present = {port.name for port in proto.graph.input}
    nodes = []
    for spec in signature.inputs:
        if placeholders[spec.name] in present:
            nodes.append(helper.make_node("Identity", [f"in {spec.name}"], [placeholders[spec.name]]))
    for node in proto.graph.node:
        named = copy_of(node)
        named.name = layer_of(node.name, layers)
        nodes.append(named)
    for stored, spec in zip(outputs, signature.outputs, strict=True):
        nodes.append(helper.make_node("Identity", [stored], [f"out {spec.name}"]))
    ports = [_port(f"in {s.name}", s) for s in signature.inputs]
    results = [_port(f"out {s.name}", s) for s in signature.outputs]
    graph = helper.make_graph(nodes, "mlopt", ports, results, proto.graph.initializer)
    return helper.make_model(graph, opset_imports=proto.opset_import, ir_version=IR_VERSION)


def _port(name: str, spec: TensorSpec) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    return helper.make_tensor_value_info(name, kind, [symbolic.BATCH, *spec.shape[1:]])


def _refuse_unknown_ops(graph: Graph) -> None:
    missing: dict[str, list[str]] = defaultdict(list)
    for node in graph.nodes:
        if not onnx.defs.has(node.op_type, OPSET, node.domain) and node.name not in missing[node.op_type]:
            missing[node.op_type].append(node.name)
    found = {op: layers for op, layers in missing.items() if layers}
    if found:
        raise UnsupportedOps("ONNX", found, "Replace these layers, or export to another format.")
