"""What a converter is: a light door with promises, and worker-side functions behind it.

A converter package `mlopt_NAME` holds
  __init__.py    the door: a class with the attributes below; imports nothing heavy
  exporter.py    export(model, signature, dest): the framework's model to the float file, in the framework's worker
  quantizer.py   make(...): one precision out of the float file; runs in a worker that sees no training framework.
                 Precisions that share no code are better made in modules apart: a change remakes what runs it alone
  runtime.py     open_runtime(file, signature), read_storage(file): the format's own runtime

Functions behind the door are named by text, "module:function", so that asking for a name imports nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlopt.artifact import Contract, Made, Storage
from mlopt.data.samples import Samples
from mlopt.extras import Package
from mlopt.grid import Grid
from mlopt.model import Signature
from mlopt.report import LayerError
from mlopt.scheme import GridStorage, QuantizationScheme


class Place(StrEnum):
    """Where the files of a format can be measured."""

    HOST = "host"               # this machine, by its Python runtime
    BOARD = "board"             # a board by ssh, by the Python runtime that is installed there
    NATIVE = "native"           # by the runner in C: phones, emulated cores, counted instructions


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """What writes the float file of one framework's models."""

    function: str                              # "module:function": see `Export`
    needs: tuple[Package, ...] = ()            # beside the framework and what opens the format's files


@dataclass(frozen=True, kw_only=True)
class Precision:
    """One way of storing the numbers, and when to choose it."""

    name: str                  # "int8", "float16", "int8-weights", ...
    about: str                 # one sentence: what it stores, when to use it, what it will not do
    needs_samples: bool        # True: calibrated on samples (given or synthesised); False: it uses none
    full_integer: bool = False
    by_default: bool = True    # made by a plain `mlopt compress`
    make: str = ""             # "module:function": see `Make`; "" for the float file, which an exporter writes
    refusal: str = ""          # "module:function": of the float file, why this makes no sense for it, or ""
    grids: GridStorage | None = None    # what it takes of a trained grid, as it is; None: it makes its own numbers
    proof_samples: int = 0     # 0: proven on all; else on so many, since no host kernel is fast for it; n says so

    def takes(self, scheme: QuantizationScheme) -> bool:
        """Whether a grid of `scheme` decides the file's numbers."""
        return self.grids is not None and not self.grids.refusal(scheme)


class Converter(Protocol):
    """The door of one format. Attributes only: nothing here may import a framework."""

    name: str                              # "tflite"
    extra: str                             # the extra that installs it
    gives: str                             # what that extra gives, for who has not installed it
    runtime: str                           # what runs the file here, e.g. "LiteRT 2.3.0" or "MIL reference evaluator"
    reads: tuple[Package, ...]             # packages that open, check and run its files
    runs: Package                          # of those, the runtime itself
    sees: tuple[str, ...] = ()             # frameworks that those packages import; others are hidden from their worker
    suffix: str                            # ".tflite", ".onnx", ".mlpackage"
    other_suffixes: tuple[str, ...] = ()   # of files that are read though none is written, e.g. ".mlmodel"
    precisions: tuple[Precision, ...]      # the first one is the float file that an exporter writes
    exporters: Mapping[str, Exporter]      # by the framework's name; models of another one are not written
    open_runtime: str                      # "mlopt_tflite.runtime:open_runtime"
    read_storage: str                      # "mlopt_tflite.storage:read_storage"
    inventory: str                         # "mlopt_tflite.inventory:operations": the names of a file's operations
    layer_errors: str = ""                 # "mlopt_tflite.layers:layer_errors"; "" where the format has none
    places: frozenset[Place] = frozenset() # where files can be measured; empty: nowhere from here (Core ML on Linux)
    draft: str = ""                        # "module:function": writes an int8 file that is only good for timing; or ""
    exports_apart: bool = False            # True: its exporter's imports take long enough to be worth a second process
    takes_longest: int = 0                 # workers start in this order, the longest work first; 0 for the others


class Export(Protocol):
    def __call__(self, model: Any, signature: Signature, dest: Path) -> Made:
        """Write the float32 file of `model` (as its framework's door opened it) to `dest`.

        Raises `UnsupportedOps`, naming the layers, when the format lacks an op.
        """
        ...


class Make(Protocol):
    def __call__(
        self, float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int,
        grid: Grid | None = None,
    ) -> Made:
        """Write `precision` of `float_file` to `dest`. `samples` is given exactly where the precision needs them.

        `grid` is given only where the precision takes its scheme: a converter whose precisions have no `grids` takes no
        such argument. The file's numbers are then exactly the grid's: no range is searched, no weight rounded
        again, no bias corrected. Raises `GridMismatch`, naming the nodes, where it does not fit the file.

        Deterministic: the same arguments write the same bytes. Raises `UnsupportedOps` or `MloptError`; it never
        writes another precision than the one asked for: a layer left in float stands in `notes`, with the reason.
        """
        ...


class Runtime(Protocol):
    """An exported file, loaded in its own runtime. It speaks the source model's names and real numbers."""

    contract: Contract

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs for a batch, by the source's output names; quantized on the way in and dequantized on the way out.

        `inputs` maps each input name to an array [N, ...] of real numbers; outputs are float32 [N, ...].
        """
        ...

    def stage(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Prepare `invoke` with one sample (arrays [1, ...]), copies and quantization done."""
        ...

    def invoke(self) -> None:
        """One inference on what `stage` prepared, and nothing else: this is what is timed. One thread."""
        ...


class OpenRuntime(Protocol):
    def __call__(self, file: Path, signature: Signature) -> Runtime:
        """Load `file`; raises `MloptError` with the runtime's own words when it cannot be loaded."""
        ...


class ReadStorage(Protocol):
    def __call__(self, file: Path) -> Storage: ...


class LayerErrors(Protocol):
    def __call__(self, float_file: Path, file: Path, samples: Samples, limit: int) -> tuple[LayerError, ...]:
        """Signal to noise inside `file` against the float file, over at most `limit` samples, in the file's order."""
        ...
