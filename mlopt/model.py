"""What a model is before anyone trains it: its signature, its layers, its size."""

from dataclasses import dataclass
from pathlib import Path

from mlopt.quantities import Count


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One named input or output.

    `shape` has the batch first; None stands for a dimension that is free (the batch always is, for us).
    `dtype` is numpy's name. `layout` names the axes, one letter each: N batch, H height, W width, C channels,
    T time; "N" + "?" * k where the meaning is unknown.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    layout: str

    def describe(self) -> str:
        """For error messages.

        >>> TensorSpec(name="image", shape=(None, 32, 32, 3), dtype="float32", layout="NHWC").describe()
        'image: float32 [N, 32, 32, 3]'
        """
        sizes = ", ".join("N" if i == 0 else "?" if d is None else str(d) for i, d in enumerate(self.shape))
        return f"{self.name}: {self.dtype} [{sizes}]"


@dataclass(frozen=True, kw_only=True)
class Signature:
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """One layer of the source, flattened out of nested models; `name` is "outer/inner"."""

    name: str
    kind: str             # the framework's own class name, e.g. "Conv2D"
    parameters: int
    macs: int             # multiply-accumulates for one sample; 0 where none, e.g. pooling
    output_shape: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class SourceModel:
    """A trained model as it was opened; opening ran no code of the file's."""

    path: Path
    framework: str                    # the name of the door that opened it
    container: str                    # what kind of file or folder it is, in its framework's words
    loaded_by: str                    # who rebuilt it, in its framework's words
    digest: str                       # sha256 of the file, or of the folder's files in name order
    file_bytes: Count                 # everything on disk
    weight_bytes: Count               # the weights alone
    optimizer_bytes: Count            # optimizer state: on disk, never shipped
    parameters: Count
    macs: Count                       # multiply-accumulates for one sample
    signature: Signature
    output_activations: tuple[str, ...]   # per output: "softmax", "sigmoid", "linear", ... or "unknown"
    layers: tuple[LayerFacts, ...]
