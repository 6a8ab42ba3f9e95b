"""Where a trained model is, what the user said of opening it, and the digest of all that decides what opening gives."""

import hashlib
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path

from mlopt import files
from mlopt.errors import ModelUnreadable


@dataclass(frozen=True)
class ModelLocation:
    """A model file or folder, or a factory with its weights; a framework opens it in a worker of its own."""

    path: Path                                     # a file or a folder; a factory's weights
    _: KW_ONLY
    factory: str = ""                              # "package.module:function", which builds what `path` has weights for
    trust_code: bool = False                       # whether code that the file carries may run
    custom_objects: tuple[str, ...] = ()           # "module:NAME" of the user's own layers and functions
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)    # fix free dimensions, batch first

    @property
    def stem(self) -> str:
        """What files made of it are named after; "." and the like stand for a folder that has a name."""
        return self.path.absolute().stem

    @property
    def imports_user_code(self) -> bool:
        """Whether opening it imports modules that the user named."""
        return bool(self.custom_objects or self.factory)

    @cached_property
    def digest(self) -> str:
        """sha256 of the file, or of the folder's files in name order; `ModelUnreadable` where nothing can be read."""
        with self._reading():
            return files.digest(self.path)

    @property
    def size(self) -> int:
        """Bytes of the file, or of the folder's files; `ModelUnreadable` where nothing can be read."""
        with self._reading():
            return files.size(self.path)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as err:
            raise ModelUnreadable(self.path, "no such file or folder", "Give the path of a trained model.") from err
        except OSError as err:
            raise ModelUnreadable(self.path, f"cannot be read ({err.strerror})") from err

    @cached_property
    def code(self) -> Mapping[str, str]:
        """Digest of each module of the user's that opening imports, by the text that names it."""
        return {text: _code_of(text) for text in (*self.custom_objects, *filter(None, [self.factory]))}

    @property
    def identity(self) -> dict[str, object]:
        """Everything that decides what opening it gives: part of the key of every stage. Its name is not."""
        return {
            "digest": self.digest, "trust_code": self.trust_code, "code": dict(self.code), "factory": self.factory,
            "input_shapes": dict(self.input_shapes),
        }

    def beside(self, path: Path) -> "ModelLocation":
        """Another model file, opened as the user said of this one."""
        return replace(self, path=path, factory="")


def _code_of(name: str) -> str:
    """Digest of the package that "module:NAME" lies in, its modules only; another each time where they are not found.

    Nothing is imported. What that package imports from others does not count.
    """
    top = name.partition(":")[0].partition(".")[0]
    spec = PathFinder.find_spec(top, [*sys.path, str(Path.cwd())])      # as the worker will look for it
    if spec is None or spec.origin is None:
        return str(uuid.uuid4())
    place = Path(spec.origin)
    whole = hashlib.sha256()
    for file in sorted(place.parent.rglob("*.py")) if spec.submodule_search_locations else [place]:
        whole.update(f"{file.relative_to(place.parent)}\0{files.digest(file)}".encode())
    return whole.hexdigest()
