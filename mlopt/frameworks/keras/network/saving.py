"""Write a model as a legacy .h5 file, the same bytes for the same model."""

import warnings
from pathlib import Path
from typing import Any

FILE = "model.h5"


def save(model: Any, folder: Path) -> None:
    """`model.h5` in `folder`, which may be there already and holds none yet: architecture and weights, nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")    # it is meant
        model.save(str(folder / FILE), overwrite=True, include_optimizer=False, save_format="h5")
