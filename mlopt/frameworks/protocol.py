"""What a framework gives to everything that comes after it. Lives in that framework's worker process only."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from mlopt.frameworks.fitting import FitResult, FitTask, LabelLoss, OnEvent
from mlopt.grid import ActivationGrid, WeightGrid
from mlopt.model import Signature, SourceModel
from mlopt.network import Kept, Network, Weights
from mlopt.scheme import IntegerFormat


class TrainedModel(Protocol):
    """A trained model, opened."""

    @property
    def source(self) -> SourceModel: ...

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Float32 outputs [N, ...] by output name, for one batch of inputs [N, ...] by input name; inference mode."""
        ...

    def synthesise(self, count: int, seed: int) -> tuple[dict[str, np.ndarray], str]:
        """Inputs [count, ...] made from the model itself, and one sentence on how and how far to trust them."""
        ...


class TrainableModel(Protocol):
    """A model that can be taken apart, changed and trained. Techniques are written on this and on `Network` alone.

    Methods that change the architecture give a new model and leave this one as it is.
    """

    @property
    def signature(self) -> Signature: ...

    @property
    def network(self) -> Network: ...

    @property
    def output_activations(self) -> tuple[str, ...]:
        """What each output applies last, in the signature's order and by the names of `SourceModel`."""
        ...

    def weights(self) -> dict[str, np.ndarray]:
        """Every weight by its name in `network`, copied."""
        ...

    def set_weights(self, weights: Weights) -> None:
        """Those that are named; shapes must fit."""
        ...

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Float32 outputs [N, ...] by output name, inference mode, rounding included where the model is on a grid."""
        ...

    def activations(self, nodes: Sequence[str], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What these nodes give to their consumers, [N, ...] by node name, inference mode."""
        ...

    def first_order_terms(
        self, samples: Path, output: str, loss: LabelLoss | None, *, count: int, seed: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """What each element adds to the loss to first order: for each batch of `count` rows drawn by `seed`, gradient *
        weight by name of each weight that is no statistic, in its shape, frozen or not.

        The gradient is that of the loss on labels of this output. Without one it is that of the sum of squares of the
        output before its softmax or sigmoid: a teacher that agrees gives no slope.
        """
        ...

    def narrowed(self, kept: Kept) -> "TrainableModel":
        """With fewer channels: every weight cut to the indices that stay, the architecture rebuilt to fit."""
        ...

    def without(self, nodes: Sequence[str]) -> "TrainableModel":
        """Each of these nodes, and what only they need, replaced by its first input of the same shape."""
        ...

    def renamed(self, signature: Signature) -> "TrainableModel":
        """The same function, its inputs and outputs by the names of another signature, in the same order."""
        ...

    def folded(self) -> "TrainableModel":
        """The same function at inference, batch normalization folded into the weights of the node before it."""
        ...

    def on_grid(
        self,
        activations: Mapping[str, ActivationGrid],
        kernels: Mapping[str, IntegerFormat],
        *,
        shared: Sequence[Sequence[str]] = (),
        learned: Collection[str] = (),
    ) -> "GriddedModel":
        """The same network, rounding its `kernels` (by node name) and activations as integer kernels do, with
        straight-through gradients. Needs a folded network. Raises `BadRequest` for a format that it cannot train on.

        `activations` are by node name, or `grid.before` a node's activation function. The names of each group of
        `shared` have one range between them; ranges of names in `learned` are trained with the weights.
        """
        ...

    def fit(self, task: FitTask, on_event: OnEvent) -> FitResult:
        """Train in place. Raises `BadRequest` before the first step for a task that cannot be trained.

        Events: {"doing": "training", "done": step, "total": steps, "epoch": e, "epochs": n, "loss": x, "validation": y,
        "left_s": seconds}, at most twice a second.
        """
        ...

    def save(self, folder: Path) -> None:
        """Into a new folder, which this framework then opens as a model; nothing in it needs code."""
        ...


class GriddedModel(TrainableModel, Protocol):
    """A network that trains on its grid. `activations` also knows the names that `grid.before` makes."""

    def grids(self) -> tuple[dict[str, ActivationGrid], dict[str, WeightGrid]]:
        """Ranges, and the grids of kernels, by node, as they stand after training."""
        ...

    def stripped(self) -> TrainableModel:
        """The plain model, its kernels rounded to the grid, nothing else rounded."""
        ...
