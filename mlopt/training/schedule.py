"""The learning rate of each step."""

import math

from mlopt.frameworks.fitting import Optimizer, Schedule

LAST = 0.01                                     # a schedule's end, as a share of the learning rate


def learning_rate(optimizer: Optimizer, step: int, steps: int) -> float:
    """Of step `step`, 0 to `steps` - 1: rising in a line over the warm-up, then as the schedule says.

    >>> o = Optimizer(learning_rate=1.0, warmup=0.5)
    >>> [round(learning_rate(o, s, 8), 2) for s in range(8)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.26, 0.01]
    """
    warmup = math.ceil(optimizer.warmup * steps) if optimizer.warmup else 0
    if step < warmup:
        return optimizer.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup - 1)
    if optimizer.schedule is Schedule.COSINE:
        share = LAST + (1 - LAST) * (1 + math.cos(math.pi * done)) / 2
    elif optimizer.schedule is Schedule.LINEAR:
        share = 1 - (1 - LAST) * done
    else:
        share = 1.0
    return optimizer.learning_rate * share
