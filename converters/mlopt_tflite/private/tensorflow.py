"""What TensorFlow does not offer in its public API; seen in TensorFlow 2.21."""

# A frozen TF 2 function: `tf.compat.v1.graph_util` freezes sessions of TF 1 alone.
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

__all__ = ["convert_variables_to_constants_v2"]
