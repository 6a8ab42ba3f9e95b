"""Bars that grow with the page, each with a label, a value and a share."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Bar:
    label: str
    length: float               # a fraction of the longest that fits
    value: str
    share: str = ""
    title: str = ""             # the whole of a shortened label
    colour: str = "f0"          # a class of the style sheet

    @property
    def percent(self) -> float:
        """The width, within 0 to 100."""
        return 100 * min(max(self.length, 0.0), 1.0)
