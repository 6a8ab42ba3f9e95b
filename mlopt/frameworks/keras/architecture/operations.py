"""The one TensorFlow operation that a `TensorFlowOpLayer` holds, parsed as Keras parses it, and written as JSON."""

from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.framework.node_def_pb2 import NodeDef

from mlopt.frameworks.keras.architecture.names import GRAPH_OPS
from mlopt.frameworks.keras.architecture.values import Unfit

_MAX_DEPTH = 20      # of a message in JSON; tensors and shapes in attributes take six


def node(stored: Any) -> dict[str, Any]:
    """The operation as a JSON object, from that or from a message in its binary form, as text.

    Raises `Unfit` for what is no operation, for one that is not known, and for attributes that name functions.
    """
    parsed = NodeDef()
    try:
        if isinstance(stored, dict):
            json_format.ParseDict(stored, parsed, max_recursion_depth=_MAX_DEPTH)
        elif isinstance(stored, str):
            parsed.ParseFromString(stored.encode())
        else:
            raise Unfit("without an operation", stored)
    except (json_format.ParseError, DecodeError, UnicodeEncodeError, RecursionError) as err:
        raise Unfit("with an operation that cannot be read", stored) from err
    if parsed.op not in GRAPH_OPS:
        raise Unfit(f"of the operation {parsed.op or '(none)'}", stored)
    functions = [name for name, held in parsed.attr.items() if held.HasField("func") or held.list.func]
    if functions:
        raise Unfit(f"{parsed.op} that names a function in {', '.join(sorted(functions))}", stored)
    parsed.device = ""
    return json_format.MessageToDict(parsed, preserving_proto_field_name=True)
