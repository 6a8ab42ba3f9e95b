"""What ONNX Runtime does not offer in its public API; seen in onnxruntime 1.31."""

import onnxruntime as ort

_STATES = ort.capi.onnxruntime_pybind11_state

# What a session raises for a file that it refuses. The public module names none of these classes, and they share no
# base but Exception.
REFUSALS: tuple[type[Exception], ...] = (
    _STATES.Fail,
    _STATES.InvalidArgument,
    _STATES.InvalidGraph,
    _STATES.InvalidProtobuf,
    _STATES.NoSuchFile,
    _STATES.NotImplemented,
    _STATES.RuntimeException,
)
