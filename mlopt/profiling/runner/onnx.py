"""An ONNX file in ONNX Runtime on the processor, with the graph optimisations that are its default."""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING

from . import onnx_file

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime as ort

_TYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class Onnx:
    """One file. `import_runtime`, `load`, `compile`, then `feed` and `invoke`, in that order."""

    not_told = frozenset({"load_ms"})       # making a session reads the file and compiles it in one call

    def __init__(self, file: str, threads: int) -> None:
        self.file, self.threads = file, threads
        self.notes: list[str] = []

    def import_runtime(self) -> str:
        """Load the runtime's code; returns its name and version."""
        self._module = imported()
        return f"ONNX Runtime {self._module.__version__}"

    def load(self) -> None:
        """Part of `compile` here."""

    def compile(self) -> None:
        self.session = session(self._module, self.file, self.threads)

    def feed(self, seed: int) -> None:
        """Make random inputs, which are ours and not the runtime's."""
        feeds, free = inputs(self.session, seed)
        if free and not self.notes:
            self.notes.append(f"free dimensions are measured at 1: {', '.join(free)}")
        run = self.session.run
        self.invoke = lambda: run(None, feeds)

    def release_inputs(self) -> None:
        del self.invoke

    def weights(self) -> int:
        return onnx_file.weight_bytes(self.file)


def imported() -> ModuleType:
    """The module; without this variable it writes an id of the device into a cache folder, and calls home."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def session(module: ModuleType, file: str, threads: int, profile_to: str = "") -> ort.InferenceSession:
    """A session on the processor; with `profile_to` it writes a trace to a file of that prefix."""
    options = module.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = module.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    if profile_to:
        options.enable_profiling = True
        options.profile_file_prefix = profile_to
    return module.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def inputs(opened: ort.InferenceSession, seed: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """(random values for each input, names of inputs with free dimensions, which are taken as 1)."""
    from . import values

    feeds, free = {}, []
    for port in opened.get_inputs():
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in port.shape]
        if shape != list(port.shape):
            free.append(port.name)
        if port.type not in _TYPES:
            raise ValueError(f"input {port.name} is {port.type}, and no value of that kind is safe to measure with")
        feeds[port.name] = values.random(port.name, shape, _TYPES[port.type], seed)
    return feeds, free
