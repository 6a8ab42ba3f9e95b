"""Batches from folders of samples: fetched ahead of the arithmetic, in an order that (seed, epoch) decides."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import numpy as np

from mlopt.data.samples import Samples
from mlopt.frameworks.fitting import InputFacts
from mlopt.frameworks.stepper import Batches, Placed, Steps

SHARE_OF_MEMORY = 0.25          # of what is free: samples that fit in it are held there
MOST_FETCHED = 64 << 20         # bytes of samples that one fetch may take: two are in memory at a time
FEW = 0.05                      # a share of waiting below which nothing needs to be done


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Everything that a step reads, as stored: mapped from files, or held in memory."""

    samples: Samples
    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    teacher: Mapping[str, np.ndarray]
    in_memory: bool

    @classmethod
    def of(cls, samples: Samples, teacher: Mapping[str, np.ndarray], *, with_labels: bool) -> "Rows":
        """Held in memory where that takes at most a quarter of what is free."""
        inputs, labels = samples.inputs, samples.labels if with_labels else None
        arrays = [*inputs.values(), *teacher.values(), *([] if labels is None else [labels])]
        fits = sum(array.nbytes for array in arrays) <= SHARE_OF_MEMORY * available_memory()
        if fits:
            inputs, teacher = ({name: np.array(a) for name, a in part.items()} for part in (inputs, teacher))
            labels = None if labels is None else np.array(labels)
        return cls(samples=samples, inputs=inputs, labels=labels, teacher=teacher, in_memory=fits)

    @property
    def row_bytes(self) -> int:
        arrays = [*self.inputs.values(), *self.teacher.values(), *([] if self.labels is None else [self.labels])]
        return sum(array.nbytes // max(1, len(array)) for array in arrays)

    def take(self, rows: np.ndarray) -> Batches:
        """Arrays [*rows.shape, ...] of these rows."""
        return Batches(
            inputs={name: self._taken(array, rows) for name, array in self.inputs.items()},
            teacher={name: self._taken(array, rows) for name, array in self.teacher.items()},
            labels=None if self.labels is None else self._taken(self.labels, rows),
        )

    def _taken(self, array: np.ndarray, rows: np.ndarray) -> np.ndarray:
        flat = rows.reshape(-1)
        if self.in_memory:
            taken = np.take(array, flat, axis=0)
        else:                                       # from a disk: in the file's order
            order = np.argsort(flat, kind="stable")
            taken = np.empty((len(flat), *array.shape[1:]), array.dtype)
            taken[order] = array[flat[order]]
        return taken.reshape(*rows.shape, *array.shape[1:])


def available_memory() -> int:
    """Bytes that this process could still take: what the system has free, and what its control group allows."""
    free = 1 << 30
    with open("/proc/meminfo") as lines:       # noqa: PTH123  # not a file on a disk
        for line in lines:
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        free = min(free, int(text) - int(used.read_text()))
    return max(0, free)


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """int64 [count]: the rows of an epoch, shuffled."""
    return np.random.default_rng([seed, 17, epoch]).permutation(count)


@dataclass(kw_only=True)
class Feed(Generic[Placed]):
    """Samples are read in a thread while the arithmetic runs; `waited_s` is how long a step stood still for them."""

    rows: Rows
    place: Callable[[Batches], Placed]          # see `Stepper.place`
    batch: int                                  # of all replicas
    places: slice                               # of a batch: what this process works on
    seed: int
    echo: int = 1                               # steps in a row on each batch
    waited_s: float = 0.0
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "mlopt-feed"))
    _next: Future[Placed] | None = None
    _asked: Steps | None = None
    _order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    @property
    def steps_per_epoch(self) -> int:
        return self.echo * self.batches_per_epoch

    @property
    def batches_per_epoch(self) -> int:
        return self.rows.samples.count // self.batch

    @property
    def most_steps(self) -> int:
        """In one fetch."""
        return max(1, MOST_FETCHED // max(1, self.rows.row_bytes * self.batch))

    def ask(self, steps: Steps) -> None:
        """Begin to read what `take` gives next."""
        self._asked, self._next = steps, self._thread.submit(self._read, steps)

    def take(self) -> tuple[Steps, Placed]:
        """What was asked for, where the steps read it."""
        assert self._next is not None and self._asked is not None, "nothing was asked for"
        started = time.perf_counter()
        placed = self._next.result()
        self.waited_s += time.perf_counter() - started
        steps, self._next, self._asked = self._asked, None, None
        return steps, placed

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _read(self, steps: Steps) -> Placed:
        epoch, step = divmod(steps.first, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, order(self.rows.samples.count, self.seed, epoch))
        batches = (step + np.arange(steps.count)) // self.echo
        first, last = int(batches[0]), int(batches[-1])
        rows = self._order[1][first * self.batch : (last + 1) * self.batch].reshape(last - first + 1, self.batch)
        found = self.rows.take(rows[:, self.places])
        return self.place(found if self.echo == 1 else _chosen(found, batches - first))


def _chosen(batches: Batches, places: np.ndarray) -> Batches:
    return Batches(
        inputs={name: array[places] for name, array in batches.inputs.items()},
        teacher={name: array[places] for name, array in batches.teacher.items()},
        labels=None if batches.labels is None else batches.labels[places],
    )


def facts(feed: Feed[Any], *, waited_s: float, seconds: float, samples: int) -> InputFacts:
    """Whether a training waited for its samples, what was done about it, and what else could be."""
    waiting = waited_s / seconds if seconds > 0 else 0.0
    held = feed.rows.in_memory
    applied = ["stored decoded", "prefetch", "cached in memory" if held else "read in the file's order"]
    if feed.echo > 1:
        applied.append(f"each batch {feed.echo} times")
    advice: list[str] = []
    if waiting > FEW:
        if not held:
            size = sum(a.nbytes for a in feed.rows.inputs.values()) / 1e9
            advice.append(
                f"cache in memory: the samples take {size:.1f} GB, more than a quarter of the free memory; free some,"
                " or train on fewer samples"
            )
            advice.append("faster storage: put the folder of samples on a local disk")
            advice.append("data echoing: say `echo: 2`, which trains on each batch twice, and half the epochs")
        advice.append(f"larger batches than {feed.batch} samples, and a higher learning rate with them")
    return InputFacts(
        waiting=min(1.0, waiting), samples_per_second=samples / seconds if seconds > 0 else 0.0,
        applied=tuple(applied), advice=tuple(advice),
    )
