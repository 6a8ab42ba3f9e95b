"""What a figure can be at all: the one place that says the range of a share, a count, a time.

A field of a report, of a device's answer or of a stored figure that is declared as one of these is held to its range
when it is read (`mlopt.plain.from_json`), and the published JSON Schemas carry the range. In memory an unknown number
is `nan`, which no range refuses.
"""

from typing import Annotated

from msgspec import Meta

_MOST = 2**63 - 1


def _range(**limits: float) -> Meta:
    return Meta(extra_json_schema=limits)


Share = Annotated[float, _range(minimum=0, maximum=1)]              # accuracy, agreement, part of a whole
ShareDifference = Annotated[float, _range(minimum=-1, maximum=1)]   # of two shares
Score = Annotated[float, _range(maximum=1)]                         # share right, AUC, or R squared, also below 0
Amount = Annotated[float, _range(minimum=0)]                        # a time, an error, an energy
Ratio = Annotated[float, _range(exclusiveMinimum=0)]                # of two times
Count = Annotated[int, _range(minimum=0, maximum=_MOST)]            # bytes, operations, parameters
Counted = Annotated[int, _range(minimum=1, maximum=_MOST)]          # samples of a measurement, which rests on some
MaybeCount = Annotated[int, _range(minimum=-1, maximum=_MOST)]      # -1 where a device does not tell
