"""What a framework gives to everything that comes after it. Lives in that framework's worker process only."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np

from mlopt.frameworks.fitting import LabelLoss
from mlopt.frameworks.stepper import AnyStepper, Lesson
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


class Trainable(Protocol):
    """What a training needs of a model."""

    @property
    def signature(self) -> Signature: ...

    @property
    def framework(self) -> str:
        """The name of its door, `mlopt.frameworks.door.Framework.name`."""
        ...

    def stepper(self, lesson: Lesson) -> AbstractContextManager[AnyStepper]:
        """What trains this model in place, for as long as the context lasts; `mlopt.training.loop.fit` calls it.

        Raises `BadRequest` for what this framework cannot train.
        """
        ...

    def hand_over(self, folder: Path) -> None:
        """Write all that `Framework.member` needs to have this model in another process; no file of it holds code.

        Raises `BadRequest` for a model that cannot be had there.
        """
        ...


class TrainableModel(Trainable, Protocol):
    """A model that can be taken apart, changed and trained. Steps are written on this and on `Network` alone.

    Methods that change the architecture give a new model and leave this one as it is.
    """

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
