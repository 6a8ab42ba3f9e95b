"""The last step of every file that is made: shrunk, checked, and written."""

from pathlib import Path

import numpy as np
import onnx

from mlopt_onnx.graph import Graph, write_model
from mlopt_onnx.session import open_session
from mlopt_onnx.shrink import shrink


def finish(made: Graph, source: Graph, dest: Path, inputs: dict[str, np.ndarray]) -> None:
    """Shrink, check that nothing changed, and write."""
    before = made.model().SerializeToString()
    tensors = frozenset(name for node in source.nodes for name in node.output if name)
    shrink(made, keep=tensors)
    proto = made.model()
    onnx.checker.check_model(proto, full_check=True)
    after = open_session(proto.SerializeToString(), name=dest)
    if inputs:
        pairs = zip(open_session(before).run(None, inputs), after.run(None, inputs), strict=True)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in pairs), "shrinking changed the outputs"
    write_model(proto, dest)
