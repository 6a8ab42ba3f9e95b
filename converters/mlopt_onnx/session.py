"""ONNX Runtime sessions: always the processor, always one thread, and refusals in our words."""

from pathlib import Path

import onnxruntime as ort

from mlopt.errors import ModelUnreadable
from mlopt_onnx.private.onnxruntime import REFUSALS


def open_session(
    model: bytes, *, name: Path | str = "model", options: ort.SessionOptions | None = None
) -> ort.InferenceSession:
    """A session on the processor with one thread; a refusal becomes `ModelUnreadable` with the runtime's words."""
    options = options or ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except REFUSALS as err:
        words = str(err).partition(" : FAIL : ")[2] or str(err)
        raise ModelUnreadable(name, f"ONNX Runtime {ort.__version__} refuses it: {words}") from err
