"""What files are exported from."""

from dataclasses import dataclass
from pathlib import Path

from mlopt import files
from mlopt.grid import FILE as GRID
from mlopt.location import ModelLocation
from mlopt.report import Trained


@dataclass(frozen=True, kw_only=True)
class Product:
    """The model that files are exported from: what the recipe's last step left, or the source itself."""

    model: ModelLocation
    folder: Path | None = None           # of the last step: grid and probes may lie in it
    trained: Trained | None = None

    @property
    def grid(self) -> Path | None:
        """The folder of the grid that the model was trained on, if it was."""
        return self.folder if self.folder is not None and (self.folder / GRID).exists() else None

    @property
    def identity(self) -> dict[str, object]:
        """Everything that decides what is exported: part of the keys of files."""
        return self.model.identity | ({"grid": files.digest(self.grid / GRID)} if self.grid is not None else {})
