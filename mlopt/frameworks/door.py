"""What a framework is to mlopt: a light door with promises, and functions behind it for its own workers.

A package that brings a framework registers its door under the entry point `mlopt.frameworks`. The door imports nothing
heavy; what stands behind it is named by text, "module:function", so that asking for a name imports nothing.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from mlopt.extras import Package
from mlopt.location import ModelLocation

if TYPE_CHECKING:
    from mlopt.frameworks.fitting import Strategy
    from mlopt.frameworks.protocol import TrainableModel, TrainedModel


class Framework(Protocol):
    """The door of one framework: attributes, and what is told of a file by its first bytes and names alone."""

    name: str                   # how workers and exporters call it, e.g. "torch"
    extra: str                  # the extra that installs it
    takes: str                  # which models it opens, as the end of a sentence that begins with "mlopt takes"
    imports: frozenset[str]     # top-level packages that only its own workers may import
    gives: str                  # what that extra gives, for who has not installed it
    packages: tuple[Package, ...]      # whose versions decide what opening and training give
    needs_to_export: tuple[Package, ...]     # of those, what every exporter of its models needs
    environment: Mapping[str, str]     # variables of its workers; "{own}" stands for the worker's own folder
    open: str                   # "module:function": see `Open`
    open_trainable: str         # see `OpenTrainable`; "" where its models cannot be changed or trained
    check_devices: str          # see `CheckDevices`; "" where it trains on one processor alone
    member: str                 # what a member of a cluster does, see `mlopt.training.cluster`; "" without clusters
    cluster_variable: str       # the variable that describes a cluster which somebody else started; "" without one

    def check(self, location: ModelLocation) -> None:
        """Raise `ModelUnreadable`, saying what was found, where this framework does not open what lies there.

        Runs in the caller, before any worker: nothing is parsed and nothing imported.
        """
        ...

    def answers_only(self, location: ModelLocation) -> bool:
        """Whether that model can be asked but not taken apart: it can be no live teacher, and nothing is trained."""
        ...


class Open(Protocol):
    def __call__(self, location: ModelLocation) -> "TrainedModel":
        """Open a trained model in the framework's worker.

        Code that the file carries is refused unless the location says that it is trusted. Raises `ModelUnreadable` or
        `UntrustedCode`.
        """
        ...


class OpenTrainable(Protocol):
    def __call__(self, location: ModelLocation) -> "TrainableModel":
        """Open a model that can be taken apart and trained: what `open` opens, or a folder that `save` wrote.

        Raises `BadRequest`, with the reason, for a model that answers only.
        """
        ...


class CheckDevices(Protocol):
    def __call__(self, strategy: "Strategy") -> None:
        """Raise `BadRequest` where the devices of a strategy are not there."""
        ...


class Member(Protocol):
    def __call__(self, request: str, spec: dict[str, list[str]], kind: str, index: int, leads: bool) -> object:
        """Train as this member of a cluster, or serve until the others are done; `request` is a folder."""
        ...
