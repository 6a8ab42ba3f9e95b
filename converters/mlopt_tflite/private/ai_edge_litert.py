"""What LiteRT does not offer in its public API; seen in ai-edge-litert 2.3."""

from ai_edge_litert import schema_py_generated as schema  # the file's tables: part of the wheel, on no page of its docs
from ai_edge_litert.interpreter import Interpreter

__all__ = ["schema", "signatures"]


def signatures(interpreter: Interpreter) -> dict[str, dict[str, dict[str, int]]]:
    """By signature key: "inputs" and "outputs", each name with its tensor's index.

    The public `get_signature_list` gives the names alone, and a runner of a signature hides the indices.
    """
    return interpreter._get_full_signature_list()
