"""Linear models, y = x W + b, as .npz files of two arrays. The door: it imports nothing heavy."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from mlopt.errors import ModelUnreadable
from mlopt.extras import Package
from mlopt.location import ModelLocation

FILE = "linear.npz"                                     # in a folder that `save` wrote
ARRAYS = (b"weights.npy", b"bias.npy")


class NotLinear(ModelUnreadable):
    """An error of the package's own: it comes out of a worker as it was raised there."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(path, found, "Write it with numpy.savez(path, weights=W, bias=b).")


class LinearFramework:
    """See `mlopt.frameworks.door.Framework`."""

    name = "linear"
    extra = "linear"
    takes = "linear models: a .npz file with `weights` [in, out] and `bias` [out]"
    imports: frozenset[str] = frozenset()               # every worker may import NumPy
    gives = "opens and trains linear models in .npz files"
    packages = (Package("numpy"),)
    needs_to_export = packages
    environment: Mapping[str, str] = MappingProxyType({})
    open = "mlopt_linear.model:open_model"
    open_trainable = "mlopt_linear.model:open_trainable"
    check_devices = ""
    member = ""
    cluster_variable = ""

    def check(self, location: ModelLocation) -> None:
        """By the first bytes: a zip archive that begins with one of the arrays."""
        path = location.path / FILE if location.path.is_dir() else location.path
        try:
            head = path.open("rb").read(64)
        except OSError as err:
            raise NotLinear(location.path, f"it cannot be read ({err.strerror})") from err
        if location.factory or not (head.startswith(b"PK\x03\x04") and head[30:].startswith(ARRAYS)):
            raise NotLinear(location.path, "this is no linear model")

    def answers_only(self, location: ModelLocation) -> bool:
        return False
