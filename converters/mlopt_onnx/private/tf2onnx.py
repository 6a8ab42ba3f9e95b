"""What tf2onnx does not offer in its public API; seen in tf2onnx 1.17.

Its front door (`from_keras`, `from_function`) fails with current TensorFlow, and its command line would import
TensorFlow a second time. What stands behind both are these modules, which its documentation does not promise.
"""

from collections.abc import Callable, Mapping

from tf2onnx import optimizer
from tf2onnx.optimizer import optimize_graph
from tf2onnx.tf_loader import tf_optimize
from tf2onnx.tfonnx import process_tf_graph

__all__ = ["optimize_graph", "optimizers", "process_tf_graph", "tf_optimize"]


def optimizers() -> Mapping[str, Callable[[], object]]:
    """Its passes by name, each a class; the public `optimize_graph` takes a choice of them and lists none."""
    return optimizer._get_optimizers()
