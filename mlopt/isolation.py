"""Hide packages from an interpreter, so that it sees one framework and imports nothing else by accident.

A finder that raises is used, since `sys.modules["torch"] = None` breaks scipy's lazy look-ups.
"""

import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

TORCH = frozenset({"torch", "torchvision", "torchao", "triton", "litert_torch", "executorch", "functorch"})
TENSORFLOW = frozenset({"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"})
NEVER_NEEDED = frozenset({"jax", "jaxlib", "pandas", "matplotlib", "IPython"})   # slow optional imports of others


class HidingFinder(MetaPathFinder):
    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"{fullname} is hidden in this worker process", name=fullname)
        return None


def hide(names: Iterable[str]) -> None:
    """Make `import NAME` fail as if it were not installed; a package that is already imported stays."""
    sys.meta_path.insert(0, HidingFinder(names))
