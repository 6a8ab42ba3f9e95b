"""Time files in one process, in short bursts that take turns, so that all meet the machine's moods alike.

The first call of a burst brings the file's weights and code back into the caches, which another file took over; it
is made and not timed. On the hosts that were measured it took 1 to 13 % longer than the others, and the second call
up to 5 % for networks of some 200 us, the same for either file.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from .timing import Stopwatch, Timed, batch_for, undisturbed

BURST_US = 2000.0           # shorter than most moods of a shared machine: at 10 and 50 ms pairs scatter more
_LONG_US = 20_000.0         # a call so long takes no notice of cold caches: its first is timed


@dataclass(frozen=True)
class Turns:
    """How bursts are made; the same for all files, so that all get the same number of samples."""

    samples: int            # in a burst
    batch: int              # inferences in a sample
    lead: int               # calls before them that are not timed


def turns_for(one_us: float, other_us: float) -> Turns:
    """From the time of one inference of the fastest and of the slowest file.

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
    *invokes: Callable[[], object], runs: int, most_seconds: float, planned: Turns, draw: random.Random
) -> tuple[Timed, ...]:
    """`runs` samples of each, or as many as fit into `most_seconds` for each; a round of bursts is never cut short."""
    watches = [Stopwatch(invoke, planned.batch) for invoke in invokes]
    first, order = watches[0], list(watches)
    with undisturbed():
        until = time.perf_counter_ns() + int(len(watches) * most_seconds * 1e9)
        while len(first.samples_us) < runs and (not first.samples_us or time.perf_counter_ns() < until):
            count = min(planned.samples, runs - len(first.samples_us))
            draw.shuffle(order)
            for watch in order:
                _burst(watch, count, planned.lead)
    return tuple(watch.timed() for watch in watches)


def _burst(watch: Stopwatch, count: int, lead: int) -> None:
    for _ in range(lead):
        watch.invoke()
    watch.ready()
    for _ in range(count):
        watch.sample()
