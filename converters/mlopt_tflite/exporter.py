"""The source model to the float TFLite file; runs in the worker process that sees TensorFlow.

One function with a batch of one: the form that is deployed, without shape arithmetic inside. Nothing is quantized
here: every other precision is made from this file, so that all of them share one graph.
"""

import re
import warnings
from collections.abc import Set
from pathlib import Path

import tensorflow as tf

from mlopt.artifact import Made
from mlopt.errors import MloptError, UnsupportedOps
from mlopt.frameworks.keras.exportable import TensorFlowModel
from mlopt.model import Signature
from mlopt_tflite import flatfile, slim
from mlopt_tflite.private.tensorflow import convert_variables_to_constants_v2
from mlopt_tflite.tables import Model, Operator

STATEFUL = (
    "a recurrent layer keeps its state between runs of the file: reset the interpreter's variable tensors before each "
    "sequence, as is done here when the file is measured"
)
REMEDY = "Replace the layer by one made of supported operations, or leave this format out."


def export(model: TensorFlowModel, signature: Signature, dest: Path) -> Made:
    """Write the float32 file of `model` to `dest`, its inputs and outputs named as in `signature`."""
    function = model.concrete_function(1)
    content = _converted(function, model.trackable, model) if _recurs(function) else b""
    if not content or _unusable(flatfile.parse(content, dest)):
        content = _converted(_frozen(function), tf.Module(), model)
    parsed = flatfile.parse(content, dest)
    names = [(flatfile.op_name(parsed, op), op) for op in parsed.subgraphs[0].operators or []]
    custom = sorted({_custom_name(parsed, op) for name, op in names if name == "CUSTOM"})
    if custom:
        raise UnsupportedOps("TFLite", {op: ["the model"] for op in custom}, REMEDY)
    _name_ports(parsed, signature)
    proof = slim.write_slim(parsed, dest)
    notes = (STATEFUL,) if any(t.isVariable for g in parsed.subgraphs for t in g.tensors) else ()
    return Made(path=dest, choices={"slimmed": f"{len(content)} to {proof.bytes_after} bytes, same bits"}, notes=notes)


def _converted(function: tf.types.experimental.ConcreteFunction, owner: tf.Module, model: TensorFlowModel) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], owner)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.experimental_lower_tensor_list_ops = True
    try:
        with warnings.catch_warnings():
            # TensorFlow announces that its own interpreter moves out; conversion does not use that interpreter.
            warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated", category=UserWarning)
            return converter.convert()
    except Exception as err:
        missing = _unsupported(str(err), function, model)
        if not missing:
            said = _first_sentence(err)
            raise MloptError(f"TensorFlow's converter could not write the model as TFLite: {said}") from err
        raise UnsupportedOps("TFLite", missing, REMEDY) from err


def _unusable(parsed: Model) -> bool:
    """Weights left as state that nothing sets, or no names: the converter could not save the model, and did not say."""
    stateful = any(flatfile.op_name(parsed, op) == "VAR_HANDLE" for op in parsed.subgraphs[0].operators or [])
    return stateful or not parsed.signatureDefs


def _recurs(function: tf.types.experimental.ConcreteFunction) -> bool:
    """Whether the graph loops, or holds a function that stands for a whole recurrent layer."""
    definition = function.graph.as_graph_def()
    return any("While" in node.op or node.op.startswith("TensorList") for node in _nodes(definition)) or any(
        "api_implements" in f.attr for f in definition.library.function
    )


def _frozen(function: tf.types.experimental.ConcreteFunction) -> tf.types.experimental.ConcreteFunction:
    """The same function with its weights as constants.

    The converter could save the model and freeze it by itself, but that traces each layer again, which takes ten times
    as long, and it keeps the variables of a Keras 3 model as state that nothing initialises. It is not done for
    recurrent layers, since it hides from the converter which nodes are one layer. Gradients that code gave (swish has
    one) are dropped: a file only runs forward, and the converter cannot save them outside the graph of their trace.
    """
    names = sorted(function.structured_outputs)     # the order in which TensorFlow flattens a dict
    constant = convert_variables_to_constants_v2(function, lower_control_flow=False)
    definition = constant.graph.as_graph_def()
    given = [node for node in _nodes(definition) if "_gradient_op_type" in node.attr]
    for node in given:
        del node.attr["_gradient_op_type"]
    if given:
        imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
        element = imported.graph.as_graph_element
        constant = imported.prune(*([element(t.name) for t in side] for side in (constant.inputs, constant.outputs)))
    specs = [tf.TensorSpec(t.shape, t.dtype, t.name.partition(":")[0]) for t in constant.inputs]

    @tf.function(input_signature=specs, autograph=False)
    def serve(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(names, constant(*tensors), strict=True))

    return serve.get_concrete_function()


def _nodes(definition: tf.compat.v1.GraphDef) -> list[tf.compat.v1.NodeDef]:
    """Of the graph and of its functions."""
    return [*definition.node, *(node for f in definition.library.function for node in f.node_def)]


def _unsupported(
    message: str, function: tf.types.experimental.ConcreteFunction, model: TensorFlowModel
) -> dict[str, list[str]]:
    """The operations that the converter's message lists as foreign, each with the layers that need it."""
    listed = re.findall(r"(?:TF Select|Custom) ops: ([\w, ]+)", message)
    named = re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", message)
    foreign = {op.strip() for line in listed for op in line.split(",")} | set(named)
    layers = {facts.name.rpartition("/")[2] for facts in model.source.layers}
    nodes = _nodes(function.graph.as_graph_def())
    found = {op: sorted({_layer(n.name, layers) for n in nodes if n.op == op}) for op in foreign if op}
    return {op: places or ["the model"] for op, places in found.items()}


def _layer(node: str, layers: Set[str]) -> str:
    """The layer that a node's name belongs to: the innermost known one, or else the scope below the model's.

    >>> _layer("model_1/scorer/erfinv/Erfinv", {"scorer", "dense"})
    'scorer'
    >>> _layer("model_1/lambda/Erfinv", frozenset())
    'lambda'
    """
    parts = [p for p in node.split("/") if p]
    known = [p for p in parts if p in layers]
    return known[-1] if known else parts[1] if len(parts) > 2 else parts[0]


def _first_sentence(err: Exception) -> str:
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[0] if lines else type(err).__name__


def _custom_name(model: Model, op: Operator) -> str:
    name = model.operatorCodes[op.opcodeIndex].customCode or b"custom"
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _name_ports(model: Model, signature: Signature) -> None:
    """Give the file's signature the source's names where TensorFlow has rewritten characters; all must be there."""
    assert model.signatureDefs                      # `_unusable` has looked, and a frozen function is written with one
    for side, wanted in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        entries = getattr(model.signatureDefs[0], side) or []
        by_plain = {_plain(s.name): s.name for s in wanted}
        for entry in entries:
            text = entry.name.decode() if isinstance(entry.name, bytes) else entry.name
            entry.name = by_plain.get(_plain(text), text)
        found = {e.name for e in entries}
        lost = [s.name for s in wanted if s.name not in found]
        if lost:
            raise MloptError(
                f"the TFLite file has the {side} {', '.join(sorted(found))} and lacks {', '.join(lost)}: "
                "an input that no output depends on cannot be exported; remove it from the model"
            )


def _plain(name: str) -> str:
    """As TensorFlow writes a name into a graph.

    >>> _plain("Input.1")
    'input_1'
    """
    return re.sub(r"\W", "_", name).lower()
