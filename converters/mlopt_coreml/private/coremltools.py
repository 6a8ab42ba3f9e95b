"""What coremltools does not offer in its public API; seen in coremltools 9.0."""

from importlib import import_module
from pathlib import Path

from mlopt_coreml.quiet import ct

# isort: split
# After `quiet`, since it loads coremltools. The messages of a model file: `coremltools.utils` reads and writes whole
# models, but builds no operation of a program.
from coremltools.proto import MIL_pb2, Model_pb2

__all__ = ["MIL_pb2", "Model_pb2", "known_tensorflow_operations", "program_of"]


def known_tensorflow_operations() -> frozenset[str]:
    """The names that its TensorFlow front end translates: it has a public way to add to them and none to list them."""
    registry = import_module("coremltools.converters.mil.frontend.tensorflow.tf_op_registry")
    return frozenset(registry._TF_OPS_REGISTRY)


def program_of(model: Model_pb2.Model, weights: Path) -> ct.converters.mil.Program:
    """The program of a model, as its passes take it; `ct.convert` reads no package that was written before."""
    load = import_module("coremltools.converters.mil.frontend.milproto.load").load
    return load(model, model.specificationVersion, str(weights))
