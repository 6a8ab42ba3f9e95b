"""Hide packages from an interpreter, so that it sees one framework and imports nothing else by accident.

The path finder is replaced by one that does not find them: `import torch` fails, and `find_spec("torch")` is None, as
if it were not installed. (`sys.modules["torch"] = None` breaks scipy, a finder that raises breaks `find_spec`.)
"""

import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

TORCH = frozenset({"torch", "torchvision", "torchao", "triton", "litert_torch", "executorch", "functorch"})
# Slow optional imports of the frameworks: one takes half a second longer where scikit-learn is installed.
NEVER_NEEDED = frozenset({"jax", "jaxlib", "pandas", "matplotlib", "IPython", "sklearn"})


class HidingPathFinder:
    """Python's own path finder, blind to some top-level packages."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self.names:
            return None
        return PathFinder.find_spec(fullname, path, target)

    invalidate_caches = staticmethod(PathFinder.invalidate_caches)
    find_distributions = staticmethod(PathFinder.find_distributions)   # versions stay readable


def hide(names: Iterable[str]) -> None:
    """Make `import NAME` fail as if it were not installed; a package that is already imported stays."""
    for place, finder in enumerate(sys.meta_path):
        if finder is PathFinder:
            sys.meta_path[place] = HidingPathFinder(names)
        elif isinstance(finder, HidingPathFinder):
            finder.names |= frozenset(names)
