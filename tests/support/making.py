"""One precision of a format, made as a worker makes it: by the function that the door names."""

from pathlib import Path
from typing import Any

from mlopt import plain
from mlopt.artifact import Made
from mlopt.convert.protocol import Converter


def make(door: Converter, float_file: Path, precision: str, dest: Path, **given: Any) -> Made:
    """`given` is what `mlopt.convert.protocol.Make` takes beside these."""
    found = {one.name: one for one in door.precisions}[precision]
    made: Made = plain.resolve(found.make)(float_file, precision, dest, **given)
    return made
