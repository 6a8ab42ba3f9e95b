"""Time two files in one process, in short bursts that take turns, so that both meet the machine's moods alike.

The first call of a burst brings the file's weights and code back into the caches, which the other file took over; it
is made and not timed. On the hosts that were measured it took 1 to 13 % longer than the others, and the second call
up to 5 % for networks of some 200 us, the same for either file.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from .timing import Timed, batch_for, switches, undisturbed

BURST_US = 2000.0           # shorter than most moods of a shared machine: at 10 and 50 ms pairs scatter more
_LONG_US = 20_000.0         # a call so long takes no notice of cold caches: its first is timed


@dataclass(frozen=True)
class Turns:
    """How bursts are made; the same for both files, so that both get the same number of samples."""

    samples: int            # in a burst
    batch: int              # inferences in a sample
    lead: int               # calls before them that are not timed


def turns_for(one_us: float, other_us: float) -> Turns:
    """From the time of one inference of either file.

    >>> turns_for(80.0, 80.0), turns_for(5.0, 15.0), turns_for(3e4, 3e4)
    (Turns(samples=25, batch=1, lead=1), Turns(samples=10, batch=20, lead=1), Turns(samples=1, batch=1, lead=0))
    """
    batch = batch_for(min(one_us, other_us))
    mean = (one_us + other_us) / 2
    samples = max(1, round(BURST_US / (batch * max(mean, 0.1))))
    return Turns(samples, batch, 0 if min(one_us, other_us) >= _LONG_US else 1)


def order(seed: int) -> random.Random:
    """Where each choice of an order comes from: which file is loaded first, which begins in each pair of bursts."""
    return random.Random(seed)


def in_turns(
    one: Callable[[], object], other: Callable[[], object], *, runs: int, most_seconds: float, planned: Turns,
    draw: random.Random,
) -> tuple[Timed, Timed]:
    """`runs` samples of each, or as many as fit into `most_seconds` for each; a pair of bursts is never cut short."""
    sides = (_Side(one), _Side(other))
    with undisturbed():
        until = time.perf_counter_ns() + int(2 * most_seconds * 1e9)
        while len(sides[0].samples) < runs and (not sides[0].samples or time.perf_counter_ns() < until):
            count = min(planned.samples, runs - len(sides[0].samples))
            for side in sides if draw.random() < 0.5 else sides[::-1]:
                side.burst(count, planned)
    return sides[0].timed(planned), sides[1].timed(planned)


class _Side:
    def __init__(self, invoke: Callable[[], object]) -> None:
        self.invoke = invoke
        self.samples: list[float] = []
        self.preempted: list[int] = []
        self.switches = 0

    def burst(self, count: int, planned: Turns) -> None:
        invoke, batch, samples = self.invoke, planned.batch, self.samples
        clock = time.perf_counter_ns
        for _ in range(planned.lead):
            invoke()
        before = switches()
        for _ in range(count):
            if batch == 1:
                start = clock()
                invoke()
                end = clock()
            else:
                start = clock()
                for _ in range(batch):
                    invoke()
                end = clock()
            after = switches()
            if after != before:
                self.preempted.append(len(samples))
                self.switches += after - before
                before = after
            samples.append((end - start) / 1e3 / batch)

    def timed(self, planned: Turns) -> Timed:
        return Timed(self.samples, planned.batch, 0, self.switches, self.preempted, [], float("nan"))
