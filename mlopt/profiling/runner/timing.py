"""Time inferences: warm up until it is steady, then back to back or at a fixed rate. Every run is kept."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

SHORT_US = 20.0             # below this the clock and the call around it are a visible part: several runs a sample
_SAMPLE_US = 100.0          # what a sample of several runs should last; the clock costs about 0.05 us
_WINDOW = 10                # runs in a warm-up window
_STEADY = 0.02              # a window's median moved by less than this ...
_STEADY_WINDOWS = 3         # ... so many times in a row
_WARM_UP_SECONDS = 2.0
_HELD_UP = 1.25             # a profiled run so much longer than the fastest tenth was held up from outside


@dataclass(frozen=True)
class WarmUp:
    runs: int
    median_us: float        # of the last window
    steady: bool            # False: the time was up first


@dataclass(frozen=True)
class Timed:
    samples_us: list[float]         # time of one inference, in order; the mean of `batch` where that is above 1
    batch: int
    missed: int                     # at a fixed rate: the run before was still going at the scheduled start
    switches: int                   # involuntary context switches while timing
    preempted: list[int]            # places of the samples during which the process was switched out
    woken_late: list[int]           # at a fixed rate: places of the samples that are mostly the wait for the wake-up
    wake_us: float                  # at a fixed rate: median delay of the system's wake-up, part of every sample


def warm_up(invoke: Callable[[], object], *, least: int, most_seconds: float = _WARM_UP_SECONDS) -> WarmUp:
    """Run until the median of a window holds still, or the time is up; `least` runs in any case."""
    until = time.perf_counter_ns() + int(most_seconds * 1e9)
    runs, still, last = 0, 0, 0.0
    window: list[float] = []
    while True:
        start = time.perf_counter_ns()
        invoke()
        end = time.perf_counter_ns()
        runs += 1
        window.append((end - start) / 1e3)
        if len(window) == _WINDOW:
            now = median(window)
            still = still + 1 if last and abs(now - last) < _STEADY * last else 0
            last, window = now, []
        if runs >= least and still >= _STEADY_WINDOWS:
            return WarmUp(runs, last, True)
        if runs >= least and end > until:
            return WarmUp(runs, last or median(window), False)


def batch_for(one_us: float) -> int:
    """Inferences in one sample: 1 for a model that the clock can time alone.

    >>> batch_for(80.0), batch_for(5.0)
    (1, 20)
    """
    return 1 if one_us >= SHORT_US else max(2, round(_SAMPLE_US / max(one_us, 0.1)))


class Stopwatch:
    """Samples of one model as they come, and during which of them the process was switched out."""

    def __init__(self, invoke: Callable[[], object], batch: int) -> None:
        self.invoke, self.batch = invoke, batch
        self.samples_us: list[float] = []
        self.preempted: list[int] = []
        self.switches = 0
        self._seen = 0

    def ready(self) -> None:
        """Nothing that was switched out before counts."""
        self._seen = switches()

    def sample(self) -> int:
        """Time one sample; gives the clock at its end, in ns."""
        invoke, clock = self.invoke, time.perf_counter_ns
        if self.batch == 1:
            start = clock()
            invoke()
            end = clock()
        else:
            start = clock()
            for _ in range(self.batch):
                invoke()
            end = clock()
        now = switches()
        if now != self._seen:
            self.preempted.append(len(self.samples_us))
            self.switches += now - self._seen
            self._seen = now
        self.samples_us.append((end - start) / 1e3 / self.batch)
        return end

    def timed(self) -> Timed:
        return Timed(self.samples_us, self.batch, 0, self.switches, self.preempted, [], float("nan"))


def back_to_back(invoke: Callable[[], object], *, runs: int, most_seconds: float, batch: int = 1) -> Timed:
    """Service time: the next inference starts when the last one ends."""
    watch = Stopwatch(invoke, batch)
    with undisturbed():
        watch.ready()
        until = time.perf_counter_ns() + int(most_seconds * 1e9)
        while len(watch.samples_us) < runs and watch.sample() <= until:
            pass
    return watch.timed()


def fixed_rate(invoke: Callable[[], object], *, runs: int, most_seconds: float, rate_hz: float) -> Timed:
    """One inference every 1/rate_hz seconds, timed from its scheduled start: waiting in the queue is part of it.

    A run whose start was missed starts at once and the schedule stays as it was, so that a slow device shows a queue
    and not a slower schedule.
    """
    if not rate_hz > 0:
        raise ValueError(f"a fixed rate is in inferences per second, above 0; got {rate_hz}")
    period = 1e9 / rate_hz
    samples: list[float] = []
    preempted: list[int] = []
    wakes: list[float] = []
    late: list[int] = []
    missed = 0
    clock = time.perf_counter_ns
    with undisturbed():
        first = before = switches()
        begin = clock() + int(1e6)
        until = begin + int(most_seconds * 1e9)
        while len(samples) < runs:
            due = begin + int(len(samples) * period)
            left = due - clock()
            woken = 0.0
            if left > 0:
                time.sleep(left / 1e9)
                woken = (clock() - due) / 1e3
                wakes.append(woken)
            elif samples:
                missed += 1
            invoke()
            end = clock()
            after = switches()
            if after != before:
                preempted.append(len(samples))
                before = after
            if 2 * woken > (end - due) / 1e3:
                late.append(len(samples))
            samples.append((end - due) / 1e3)
            if end > until:
                break
    return Timed(samples, 1, missed, before - first, preempted, late, median(wakes) if wakes else float("nan"))


class Rounds:
    """Profiled runs: how long each took, and which of them the system let run undisturbed."""

    def __init__(self) -> None:
        self.us: list[float] = []
        self.switched: list[bool] = []

    @property
    def count(self) -> int:
        return len(self.us)

    def run(self, invoke: Callable[[], object]) -> None:
        before = switches()
        start = time.perf_counter_ns()
        invoke()
        self.us.append((time.perf_counter_ns() - start) / 1e3)
        self.switched.append(switches() != before)

    def quiet(self) -> list[int]:
        """Places of runs in which the process kept its processor, and none a quarter longer than the fastest tenth: a
        virtual machine loses its processor, and shares its caches, without noticing. All runs, where fewer than a
        fifth are left.
        """
        limit = _HELD_UP * sorted(self.us)[self.count // 10]
        kept = [i for i, us in enumerate(self.us) if not self.switched[i] and us <= limit]
        return kept if len(kept) * 5 >= self.count else list(range(self.count))

    def mean_us(self, places: list[int]) -> float:
        return sum(self.us[i] for i in places) / len(places)

    def notes(self, places: list[int]) -> list[str]:
        out = self.count - len(places)
        if not out:
            return []
        return [f"operators: {out} of {self.count} profiled runs were held up from outside and are not in the means"]


def switches() -> int:
    """Times that this process was taken off a processor it wanted to keep, all threads."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without Python's collector in between."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
