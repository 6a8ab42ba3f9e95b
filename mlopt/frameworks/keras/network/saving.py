"""Write a model as a legacy .h5 file, the same bytes for the same model."""

import logging
import warnings
from pathlib import Path
from typing import Any

from mlopt.frameworks.keras.quiet import tf
from mlopt.frameworks.keras.sniff import SAVED


def save(model: Any, folder: Path) -> None:
    """`model.h5` in `folder`, which may be there already and holds none yet: architecture and weights, nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    tf.get_logger().addFilter(_is_no_chatter)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")    # it is meant
            model.save(str(folder / SAVED), overwrite=True, include_optimizer=False, save_format="h5")
    finally:
        tf.get_logger().removeFilter(_is_no_chatter)


def _is_no_chatter(record: logging.LogRecord) -> bool:
    """Saving says of every model without losses that it could not build their metrics."""
    return not str(record.msg).startswith("Compiled the loaded model, but the compiled metrics have yet to be built")
