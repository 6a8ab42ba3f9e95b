"""The source model to the float32 package. Runs where TensorFlow is; torch must be hidden."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import tensorflow as tf

from mlopt.artifact import Made
from mlopt.errors import MloptError, UnsupportedOps
from mlopt.frameworks.keras.exportable import TensorFlowModel
from mlopt.model import Signature
from mlopt_coreml.compact import compacted
from mlopt_coreml.converting import converted
from mlopt_coreml.mil.program import main_block
from mlopt_coreml.names import port_names
from mlopt_coreml.package import Package, write_package
from mlopt_coreml.private.coremltools import known_tensorflow_operations
from mlopt_coreml.private.tensorflow import convert_variables_to_constants_v2
from mlopt_coreml.quiet import ct

mb = ct.converters.mil.Builder

class _Node(Protocol):
    """A node of coremltools' copy of the TensorFlow graph."""

    name: str
    inputs: Sequence[str]


class _Translated(Protocol):
    """What coremltools has translated so far: values of MIL by the name of their node."""

    def __getitem__(self, name: str) -> object: ...
    def add(self, name: str, value: object) -> None: ...


# what coremltools' own passes take away before operations are looked up
_TAKEN_AWAY = frozenset({"Assert", "CheckNumerics", "Const", "NoOp", "Placeholder", "StopGradient", "PreventGradient"})


@ct.converters.mil.register_tf_op(strict=False)     # not strict: one that coremltools has goes before it
def Erfc(context: _Translated, node: _Node) -> None:            # the registry goes by the function's name
    """1 - erf(x): TensorFlow's exact GELU is written with it, and coremltools 9 lacks it."""
    x = mb.erf(x=context[node.inputs[0]])
    context.add(node.name, mb.sub(x=1.0, y=x, name=node.name))


def export(model: TensorFlowModel, signature: Signature, dest: Path) -> Made:
    """Write the float32 package of `model`, with a fixed batch of 1, to `dest`."""
    for spec in signature.inputs:
        if None in spec.shape[1:]:
            raise MloptError(
                f"Core ML packages are written with fixed sizes, and the model takes {spec.describe()}. "
                "Give the model an input of a fixed size, then compress it."
            )
    function = model.concrete_function(1)
    raw = _convert(function)
    _refuse_loops(raw)
    package = compacted(raw, scope=_scope(function), ports=_ports(function, signature, raw))
    write_package(package.model, package.weights.raw, dest)
    return Made(path=dest, choices={"target": "iOS 18, macOS 15"})


def _convert(function: tf.types.experimental.ConcreteFunction) -> Package:
    try:
        return converted([function], source="tensorflow", half=False)
    except NotImplementedError as err:
        remedy = "Replace these layers, or leave Core ML out."
        raise UnsupportedOps("Core ML", _unknown_ops(function, err), remedy) from err
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as err:
        words = str(err).strip().splitlines()
        raise MloptError(
            f"coremltools could not convert the model ({type(err).__name__}: {words[0] if words else 'no message'})."
        ) from err


def _refuse_loops(package: Package) -> None:
    """Core ML has loops and lists; nothing here could make such a package smaller or run it."""
    found: dict[str, list[str]] = {}
    for op in main_block(package.model).operations:
        if op.blocks or any(output.type.WhichOneof("type") != "tensorType" for output in op.outputs):
            found.setdefault(op.type, []).append(op.outputs[0].name)
    if found:
        remedy = "Recurrent layers need no loop when they are built with unroll=True."
        raise UnsupportedOps("mlopt's Core ML converter", found, remedy)


def _unknown_ops(function: tf.types.experimental.ConcreteFunction, error: NotImplementedError) -> dict[str, list[str]]:
    """Every operation that coremltools does not know, with the layers that use it; at least the one it stumbled on."""
    known = {name.lower() for name in known_tensorflow_operations()} | {name.lower() for name in _TAKEN_AWAY}
    found: dict[str, list[str]] = {}
    for op in convert_variables_to_constants_v2(function).graph.get_operations():
        if op.type.lower() not in known:
            found.setdefault(op.type, []).append(op.name.rpartition("/")[0] or op.name)
    named = re.search(r"TF op '(\w+)'.*?name: \"([^\"]+)\"", str(error), re.DOTALL)
    if named:
        layers = found.setdefault(named[1], [])
        layer = named[2].rpartition("/")[0] or named[2]
        if layer not in layers:
            layers.append(layer)
    return found or {str(error).strip().splitlines()[0]: ["the model"]}


def _scope(function: tf.types.experimental.ConcreteFunction) -> str:
    """The name scopes that all operations share, such as the model's own, as coremltools spells them.

    Two levels of every name are kept: the layer's and the operation's.
    """
    paths = [op.name.split("/") for op in function.graph.get_operations() if "/" in op.name]
    shared = 0
    while paths and all(len(p) > shared + 2 and p[shared] == paths[0][shared] for p in paths):
        shared += 1
    return "".join(re.sub(r"\W", "_", part) + "_" for part in paths[0][:shared]) if paths else ""


def _ports(
    function: tf.types.experimental.ConcreteFunction, signature: Signature, package: Package
) -> Mapping[str, str]:
    """The package's present names of inputs and outputs, to the names that they shall have."""
    specs = tf.nest.flatten(function.structured_input_signature)
    placeholders = {spec.name: tensor.op.name for spec, tensor in zip(specs, function.inputs, strict=False)}
    results = dict(zip(sorted(function.structured_outputs), function.outputs, strict=True))
    inputs = port_names([spec.name for spec in signature.inputs])
    outputs = port_names([spec.name for spec in signature.outputs])
    ports = {_spelled(placeholders.get(name, name)): new for name, new in inputs.items()}
    ports |= {_spelled(results[name].op.name): new for name, new in outputs.items()}
    description = package.model.description
    strangers = {port.name for port in (*description.input, *description.output)} - ports.keys()
    if strangers:
        raise MloptError(
            f"coremltools named {', '.join(sorted(strangers))}, which the model's signature does not know; known are "
            f"{', '.join(sorted(ports))}."
        )
    return ports


def _spelled(name: str) -> str:
    """A TensorFlow name as coremltools writes it."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return "_" + plain if plain[:1].isdigit() else plain
