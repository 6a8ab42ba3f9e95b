"""Which widths kernels like."""

import math

SLACK = 1e-9        # of a share: sums of products in floating point


def allowed_widths(units: int, first: int, *, multiple: int, least: float) -> list[int]:
    """Multiples that leave at least the share `least` of the `first` units, and the width as it is, increasing.

    >>> allowed_widths(16, 16, multiple=0, least=0.25), allowed_widths(30, 40, multiple=0, least=0.5)
    ([4, 8, 12, 16], [24, 30])
    """
    step = multiple or (8 if first >= 32 else 4)
    lowest = max(math.ceil(math.ceil(least * first - SLACK) / step) * step, step)
    return [*range(lowest, units, step), units]
