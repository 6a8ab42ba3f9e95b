"""What a framework is to mlopt: a light door with promises, and functions behind it for its own workers.

A package that brings a framework registers its door under the entry point `mlopt.frameworks`. The door imports nothing
heavy; what stands behind it is named by text, "module:function", so that asking for a name imports nothing.
"""

from typing import Protocol


class Framework(Protocol):
    """The door of one framework. Attributes only: nothing here may import the framework."""

    name: str                   # "keras"
    extra: str                  # the extra that installs it
    imports: frozenset[str]     # top-level packages that only its own workers may import
    # A context manager of (folder that `Trainable.hand_over` wrote, `Place`): the model, to be trained with the other
    # members of a cluster. It raises `MemberLost` where one of them is gone. "" where there are no clusters.
    member: str
    packages: tuple[str, ...]   # distributions whose versions decide what opening and training give
