"""The frame of a figure: how large it is, and where the area lies that is drawn in."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Frame:
    """In the figure's own units; y grows downwards. The area has edges, not margins."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
