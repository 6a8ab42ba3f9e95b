"""A TFLite file in LiteRT's Interpreter, as an app runs it: default kernels, XNNPACK where it takes an operation."""

from __future__ import annotations

from . import litert_file


class LiteRT:
    """One file. `import_runtime`, `load`, `compile`, then `feed` and `invoke`, in that order."""

    not_told: frozenset[str] = frozenset()          # phases that this runtime does not tell apart

    def __init__(self, file: str, threads: int) -> None:
        self.file, self.threads = file, threads
        self.notes: list[str] = []

    def import_runtime(self) -> str:
        """Load the runtime's code; returns its name and version."""
        from ai_edge_litert import interpreter

        self._module = interpreter
        return version()

    def load(self) -> None:
        self.interpreter = self._module.Interpreter(model_path=self.file, num_threads=self.threads)

    def compile(self) -> None:
        self.interpreter.allocate_tensors()

    def feed(self, seed: int) -> None:
        """Fill the inputs with random values; they stay there."""
        from . import values

        for detail in self.interpreter.get_input_details():
            array = values.random(detail["name"], detail["shape"], detail["dtype"], seed)
            self.interpreter.set_tensor(detail["index"], array)
        if any((detail["shape_signature"] == -1).any() for detail in self.interpreter.get_input_details()):
            self.notes.append("free dimensions of the input are measured at 1")
        self.invoke = self.interpreter.invoke

    def release_inputs(self) -> None:
        """LiteRT holds its inputs in the arena: nothing of ours is left."""

    def weights(self) -> int:
        return litert_file.weight_bytes(self.file)


def version() -> str:
    from importlib.metadata import version as installed

    return f"LiteRT {installed('ai-edge-litert')}"


def tensor_arena(file: str) -> int:
    """Bytes of activation tensors as LiteRT lays them out for its own kernels, alignment included.

    From the tensors' addresses, without those in the mapped file. XNNPACK keeps its tensors on the heap instead, so a
    phone that delegates shows less here and more there.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=file, num_threads=1, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    constant = litert_file.constant_tensors(file)
    spans = []
    for index in (int(detail["index"]) for detail in interpreter.get_tensor_details()):
        if index in constant:
            continue
        try:
            view = interpreter.tensor(index)()
        except ValueError:              # not laid out before a run: its size depends on the data
            continue
        if view.nbytes:
            start = view.__array_interface__["data"][0]
            spans.append((start, start + view.nbytes))
    return covered(spans)


def covered(spans: list[tuple[int, int]], gap: int = 64) -> int:
    """Bytes from first to last of each run of spans, where spans less than `gap` apart (alignment) belong together.

    >>> covered([(0, 100), (50, 120), (128, 130), (5000, 5010)])
    140
    """
    total, end = 0, None
    for start, stop in sorted(spans):
        if end is None or start - end >= gap:
            total += stop - start
            end = stop
        elif stop > end:
            total += stop - end
            end = stop
    return total
