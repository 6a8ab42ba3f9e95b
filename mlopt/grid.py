"""The grid that a network was trained on: what each number is rounded to, and how a converter finds its place.

Weights in the trained model stand on their grid already (batch norms folded in); here stand their steps, and the ranges
of activations. A node is found in an exported float file by what it computes: `probes` holds the float outputs of every
node with a range, for a few inputs, and the tensor that gives the same values is that node's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt import plain
from mlopt.scheme import QuantizationScheme

FILE = "grid.json"
BEFORE = "/before"


def before(node: str) -> str:
    """The name, among activations and probes, of what a node has computed before its own activation function.

    It stands there where integer kernels round it too: before softmax, sigmoid, tanh, ... but not before relu.
    """
    return node + BEFORE


@dataclass(frozen=True, kw_only=True)
class ActivationGrid:
    """256 steps from `low` to `high`; 0 stands on a step exactly (asymmetric, one for the tensor)."""

    low: float                      # at most 0
    high: float                     # at least 0


@dataclass(frozen=True, kw_only=True)
class WeightGrid:
    """Symmetric, one step a channel: real = step[channel] * integer in [-(2**(bits-1) - 1), 2**(bits-1) - 1]."""

    bits: int
    axis: int                       # of the kernel as the framework stores it, e.g. 3 of [H, W, in, out]
    steps: tuple[float, ...]        # one an output channel, above 0; of [..., in, multiplier] in the order of both;
                                    # all the same where the format has one for the tensor


@dataclass(frozen=True, kw_only=True)
class Grid:
    """By node name. A node's activation is what it gives to its consumers, its own activation function applied.

    Names that `before` makes stand beside nodes. A node without a range is not rounded: a sum whose relu follows alone.
    """

    scheme: QuantizationScheme
    activations: Mapping[str, ActivationGrid]      # empty: only weights are on a grid
    weights: Mapping[str, WeightGrid]              # of nodes with a kernel
    folder: Path                                   # holds probes/

    def write(self) -> None:
        """As `grid.json` in `folder`, beside probes."""
        fields = {"scheme": self.scheme, "activations": self.activations, "weights": self.weights}
        (self.folder / FILE).write_text(json.dumps(plain.to_plain(fields)))

    @classmethod
    def read(cls, folder: Path) -> "Grid":
        stored = json.loads((folder / FILE).read_text())
        return plain.from_plain({**stored, "folder": str(folder)}, cls)

    def probe_inputs(self) -> dict[str, np.ndarray]:
        """Model inputs [n, ...] by input name, a few."""
        return _arrays(self.folder / "probes" / "inputs.npz")

    def probe_outputs(self) -> dict[str, np.ndarray]:
        """Float outputs [n, ...] of the trained model by node name, for those inputs: only its weights are rounded."""
        return _arrays(self.folder / "probes" / "nodes.npz")


def write_probes(folder: Path, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
    """Keep what `Grid.probe_inputs` and `Grid.probe_outputs` give back; array names may hold any character."""
    (folder / "probes").mkdir(parents=True)
    for name, arrays in (("inputs", inputs), ("nodes", outputs)):
        numbered = {f"a{i}": array for i, array in enumerate(arrays.values())}
        np.savez(folder / "probes" / f"{name}.npz", allow_pickle=False, names=np.array(list(arrays)), **numbered)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {str(name): stored[f"a{i}"] for i, name in enumerate(stored["names"])}
