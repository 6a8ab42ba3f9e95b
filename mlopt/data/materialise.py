"""From a source to folders of samples: chosen rows only, in one pass, each folder whole or absent."""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt.data.dataset import Batch, Chosen, Dataset, Request
from mlopt.data.fingerprint import digest
from mlopt.data.preparation import AS_STORED, Preparation
from mlopt.data.samples import Samples
from mlopt.data.source import Source
from mlopt.data.splits import Role
from mlopt.data.storing import SamplesFolder, new_samples
from mlopt.errors import DataMismatch
from mlopt.model import Signature

Progress = Callable[[int, int], None]       # samples done, samples in all

CALIBRATION_SAMPLES = 512       # above some hundred, ranges of activations hardly move
MOST_SLICE_VALUES = 50          # a text column with more different values is free text, not a grouping
LONGEST_SLICE_VALUE = 200       # characters; as above


@dataclass(frozen=True, kw_only=True)
class SamplesSummary:
    """What was written to one folder."""

    folder: Path
    role: Role
    source: str
    origin: str                         # "given" or "synthesised"
    count: int
    split: str = ""                     # the named split of the source, if it has them
    class_names: tuple[str, ...] = ()
    slice_names: tuple[str, ...] = ()
    fingerprint: str = ""               # sha256 over the arrays as stored
    notes: tuple[str, ...] = ()         # what was unused, converted or assumed
    warnings: tuple[str, ...] = ()      # values that look wrong for the model


def write_samples(
    source: str | Path | Source, signature: Signature, dest: Path, *, role: Role, limit: int | None, seed: int,
    preparation: Preparation = AS_STORED, progress: Progress | None = None,
) -> SamplesSummary:
    """Write at most `limit` samples of `source` to the folder `dest`, as `role` needs them.

    Calibration takes as many of each class as there are, in shuffled order, so that any first part of it is a fair
    sample too; test keeps the source's frequencies and order.
    """
    dataset = Dataset.open(source, signature, preparation)
    return materialise(dataset, {dest: Request(role=role, limit=limit)}, seed=seed, progress=progress)[0]


def write_calibration_and_test(
    source: str | Path | Source, signature: Signature, calibration_dest: Path, test_dest: Path, *, seed: int,
    calibration_limit: int = CALIBRATION_SAMPLES, test_limit: int | None = None,
    preparation: Preparation = AS_STORED, progress: Progress | None = None,
) -> tuple[SamplesSummary, SamplesSummary]:
    """Both from one source, no row in both, read once.

    Each takes the split meant for it where the source has named ones; else calibration takes at most a quarter.
    """
    dataset = Dataset.open(source, signature, preparation)
    requests = {
        calibration_dest: Request(role=Role.CALIBRATION, limit=calibration_limit),
        test_dest: Request(role=Role.TEST, limit=test_limit),
    }
    calibration, test = materialise(dataset, requests, seed=seed, progress=progress)
    return calibration, test


def write_arrays(
    dest: Path, inputs: Mapping[str, np.ndarray], *, role: Role, labels: np.ndarray | None = None,
    slices: Mapping[str, np.ndarray] | None = None, origin: str = "synthesised", source: str = "the model itself",
    signature: Signature | None = None, scale: float = 1.0, offset: float = 0.0, class_names: Sequence[str] = (),
) -> SamplesSummary:
    """Arrays that mlopt made itself, as a samples folder; stored as they are."""
    counts = {name: len(array) for name, array in inputs.items()} | ({} if labels is None else {"labels": len(labels)})
    if len(set(counts.values())) != 1 or not next(iter(counts.values())):
        raise ValueError(f"every array needs the same number of rows, at least one; got {counts}")
    count = next(iter(counts.values()))
    dtypes = {spec.name: spec.dtype for spec in signature.inputs if spec.name in inputs} if signature else {}
    every = np.arange(count)
    with new_samples(dest, count) as folder:
        for name, array in inputs.items():
            folder.put_inputs(name, every, array)
        if labels is not None:
            folder.put_labels(every, labels)
        folder.finish(
            slices=slices or {}, source_rows=None, scale=scale, offset=offset, origin=origin, unscaled=(),
            dtypes=dtypes, class_names=class_names,
        )
    return SamplesSummary(
        folder=dest, role=role, source=source, origin=origin, count=count,
        class_names=tuple(class_names), slice_names=tuple(sorted(slices or {})), fingerprint=digest(Samples.open(dest)),
    )


def materialise(
    dataset: Dataset, requests: Mapping[Path, Request], *, seed: int, progress: Progress | None = None
) -> tuple[SamplesSummary, ...]:
    """Write each request's samples to its folder, in one pass over the rows that any of them wants."""
    chosen = dataset.choose(list(requests.values()), seed)
    for part in chosen:
        if not len(part.rows):
            raise DataMismatch(dataset.source.text, f"samples for {part.role}", "no row left", "Give more rows.")
    wanted = np.sort(np.concatenate([part.rows for part in chosen]))
    with contextlib.ExitStack() as stack:
        parts = [
            _Part(part, stack.enter_context(new_samples(dest, len(part.rows))), seed)
            for dest, part in zip(requests, chosen, strict=True)
        ]
        done = 0
        for batch in dataset.batches(wanted):
            for being_filled in parts:
                being_filled.put(batch)
            done += len(batch.rows)
            if progress is not None:
                progress(done, len(wanted))
        dropped = [part.finish(dataset) for part in parts]
    return tuple(
        _summary(dataset, dest, part, chosen, notes)
        for dest, part, notes in zip(requests, parts, dropped, strict=True)
    )


class _Part:
    """One folder being filled: where each row goes, and its slices, which are small and kept until the end."""

    def __init__(self, chosen: Chosen, folder: SamplesFolder, seed: int) -> None:
        self.chosen, self.folder = chosen, folder
        self.order = np.arange(len(chosen.rows))        # place of the i-th row
        if chosen.role is Role.CALIBRATION:
            self.order = np.random.default_rng([seed, 2]).permutation(len(chosen.rows))
        self.slices: dict[str, list[np.ndarray]] = {}
        self.words: dict[str, dict[str, str]] = {}      # of each text column: equal ones are kept once
        self.kept_slices: tuple[str, ...] = ()

    def put(self, batch: Batch) -> None:
        at = np.minimum(np.searchsorted(self.chosen.rows, batch.rows), len(self.chosen.rows) - 1)
        mine = np.flatnonzero(self.chosen.rows[at] == batch.rows)
        if not len(mine):
            return
        places = self.order[at[mine]]
        whole = len(mine) == len(batch.rows)
        for name, block in batch.inputs.items():
            self.folder.put_inputs(name, places, block if whole else block[mine])
        if batch.labels is not None:
            self.folder.put_labels(places, batch.labels[mine])
        for name, values in batch.slices.items():
            self.slices.setdefault(name, []).append(self._kept(name, values[mine]))

    def _kept(self, name: str, values: np.ndarray) -> np.ndarray:
        """The values, and of text no more than tells too long from short enough."""
        if values.dtype != object:
            return values
        words = self.words.setdefault(name, {})
        short = [value[: LONGEST_SLICE_VALUE + 1] for value in values]
        return np.array([words.setdefault(word, word) for word in short], dtype=object)

    def finish(self, dataset: Dataset) -> tuple[str, ...]:
        """Complete the folder; the notes say which text columns were no slices."""
        notes, slices = [], {}
        for name, pieces in self.slices.items():
            values = _as_slice(dataset, name, np.concatenate(pieces))
            if values is None:
                notes.append(f"column {name} unused: it is free text or of one value, not a grouping")
                continue
            slices[name] = np.empty_like(values)
            slices[name][self.order] = values
        self.kept_slices = tuple(sorted(slices))
        rows = np.empty_like(self.chosen.rows)
        rows[self.order] = self.chosen.rows
        scale, offset = dataset.scale_and_offset
        self.folder.finish(
            slices=slices, source_rows=rows, scale=scale, offset=offset, origin="given",
            unscaled=[n for n, w in dataset.writers.items() if dataset.normalise and not w.holds_pixels],
            dtypes={n: w.spec.dtype for n, w in dataset.writers.items()},
            class_names=dataset.labels.class_names if dataset.labels else (),
        )
        return tuple(notes)


def _as_slice(dataset: Dataset, name: str, values: np.ndarray) -> np.ndarray | None:
    """Values of a slice column as stored; None for a text column that nobody asked for and that groups nothing."""
    asked_for = name in dataset.roles.slices
    if values.dtype == object:
        groups = Counter(values.tolist())
        longest = max(map(len, groups))
        few = 1 < len(groups) <= MOST_SLICE_VALUES and 2 * len(groups) <= len(values)
        if not asked_for and (not few or longest > LONGEST_SLICE_VALUE):
            return None
        if longest > LONGEST_SLICE_VALUE:
            raise DataMismatch(
                dataset.source.text, f"a slice column of at most {LONGEST_SLICE_VALUE} characters",
                f"more characters in column {name}", "Choose another slice column.",
            )
        return values.astype(str)
    if values.ndim != 1 or values.dtype.kind not in "iub":
        raise DataMismatch(
            dataset.source.text, "a slice column of text or whole numbers",
            dataset.source.columns[name].describe(), "Choose another slice column.",
        )
    return values.astype(np.int64)


def _summary(
    dataset: Dataset, dest: Path, part: _Part, every: Sequence[Chosen], slice_notes: tuple[str, ...]
) -> SamplesSummary:
    chosen, labels = part.chosen, dataset.labels
    return SamplesSummary(
        folder=dest, role=chosen.role, source=dataset.source.text, origin="given", count=len(chosen.rows),
        split=chosen.split or "", class_names=labels.class_names if labels else (),
        slice_names=part.kept_slices, fingerprint=digest(Samples.open(dest)),
        notes=(
            *dataset.notes, *slice_notes, *(n for w in dataset.writers.values() for n in w.notes()),
            *_unused_rows(dataset, chosen, every),
        ),
        warnings=tuple(d for w in dataset.writers.values() for d in w.doubts(dataset.normalise)),
    )


def _unused_rows(dataset: Dataset, chosen: Chosen, every: Sequence[Chosen]) -> tuple[str, ...]:
    """What the rows of a source that are in no folder are, and why."""
    notes = []
    used = sum(len(c.rows) for c in every if c.split == chosen.split)
    if used < chosen.available:
        takers = " and ".join(f"{c.role} takes {len(c.rows):,}" for c in every if c.split == chosen.split)
        where = f" of split {chosen.split}" if chosen.split else ""
        notes.append(f"{chosen.available - used:,} of {chosen.available:,} rows{where} not used: {takers}")
    others = [name for name in dataset.source.splits if name not in {c.split for c in every}]
    if others:
        rows = sum(len(dataset.source.splits[name]) for name in others)
        notes.append(f"split {' and '.join(others)} not used ({rows:,} rows): {chosen.role} takes {chosen.split}")
    if chosen.role is Role.TEST and chosen.split not in (None, "test"):
        notes.append(f"there is no split named test: {chosen.split} is used for it")
    return tuple(notes)
