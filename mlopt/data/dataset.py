"""A source seen through a model's signature: which rows there are for what, and their arrays as they are stored."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt.data import labels as label_meaning
from mlopt.data import roles as column_roles
from mlopt.data import select
from mlopt.data.inputs import InputWriter
from mlopt.data.labels import Labels
from mlopt.data.opening import open_source
from mlopt.data.preparation import AS_STORED, Preparation
from mlopt.data.roles import Roles
from mlopt.data.source import Kind, Source, batch_rows
from mlopt.data.splits import Role, preferred
from mlopt.errors import DataMismatch, DataUnreadable
from mlopt.model import Signature

_SIZES = (Role.CALIBRATION, Role.VALIDATION, Role.TEST, Role.TRAIN)     # whose share is settled first
_TURNS = (Role.TEST, Role.CALIBRATION, Role.VALIDATION, Role.TRAIN)     # who picks first: see `choose`


@dataclass(frozen=True, kw_only=True)
class Request:
    """Samples that somebody wants of a dataset."""

    role: Role
    limit: int | None = None        # at most so many; None for all there are

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is a number of samples, at least 1; got {self.limit}")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Rows of a source for one request."""

    role: Role
    rows: np.ndarray                # ascending
    split: str | None               # the named split that they are from
    available: int                  # rows of that split


@dataclass(frozen=True, kw_only=True)
class Batch:
    rows: np.ndarray                            # numbers in the source, ascending
    inputs: Mapping[str, np.ndarray]            # by the model's input names, as stored
    labels: np.ndarray | None
    slices: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Splits, choice of rows, and batches. Nothing is read before it is asked for, but headers and the labels."""

    source: Source
    signature: Signature
    roles: Roles
    writers: Mapping[str, InputWriter]
    labels: Labels | None
    normalise: tuple[float, float] | None       # what 0 and 255 of a picture become
    notes: tuple[str, ...]

    @classmethod
    def open(
        cls, source: str | Path | Source, signature: Signature, preparation: Preparation = AS_STORED
    ) -> "Dataset":
        """Open `source` and match it with the model; raises `DataUnreadable` or `DataMismatch`."""
        opened = open_source(source) if isinstance(source, str | Path) else source
        if opened.count == 0:
            raise DataMismatch(opened.text, "at least one sample", "none")
        roles = column_roles.assign(opened, signature, preparation.slice_columns)
        specs = {spec.name: spec for spec in signature.inputs}
        writers = {
            name: InputWriter(
                specs[name], opened.columns[column], opened, resize=preparation.resize, alone=len(specs) == 1
            )
            for name, column in roles.inputs.items()
        }
        if preparation.normalise is not None and not any(w.holds_pixels for w in writers.values()):
            raise DataMismatch(
                opened.text, "; ".join(s.describe() for s in signature.inputs), "no pixels to normalise",
                "Leave the normalisation out.",
            )
        notes = list(opened.notes)
        if roles.label and label_meaning.say_nothing_of_the_output(opened, roles.label, signature):
            notes.append(f"column {roles.label} groups the samples: the model's output is like its input, not a class")
            roles = column_roles.label_as_slice(roles)
        found = label_meaning.interpret(opened, roles.label, signature) if roles.label else None
        notes += [f"column {name} unused" for name in roles.unused]
        return cls(
            source=opened, signature=signature, roles=roles, writers=writers, labels=found,
            normalise=preparation.normalise,
            notes=(*notes, *(found.notes if found else ())),
        )

    @property
    def scale_and_offset(self) -> tuple[float, float]:
        """What turns stored pixels into the model's numbers: real = stored * scale + offset."""
        if self.normalise is None:
            return 1.0, 0.0
        low, high = self.normalise
        return (high - low) / 255.0, low

    def choose(self, requests: Sequence[Request], seed: int) -> tuple[Chosen, ...]:
        """Rows for each request, no row for two; where splits are named, each role takes the one meant for it.

        The test samples are picked before calibration takes as many of each class: it would leave few of a rare class,
        and every figure, and the reference of drift checks, stands for the source's own frequencies.
        """
        taken = np.empty(0, dtype=np.int64)
        chosen = {}
        splits = {request.role: preferred(request.role, self.source.splits) for request in requests}
        sizes = self._sizes(requests, splits)
        for request in sorted(requests, key=lambda r: _TURNS.index(r.role)):
            split = splits[request.role]
            span = self._span(split)
            rows = select.without(np.arange(span.start, span.stop, dtype=np.int64), taken)
            picked = self._pick(request.role, rows, sizes[request.role], seed)
            taken = np.union1d(taken, picked)
            chosen[request.role] = Chosen(role=request.role, rows=picked, split=split, available=len(span))
        return tuple(chosen[request.role] for request in requests)

    def batches(self, rows: np.ndarray, *, size: int = 1024) -> Iterator[Batch]:
        """The rows, ascending, as they are stored: checked, decoded, and nothing else of the source decoded."""
        columns = [*self.roles.inputs.values(), *self.roles.slices, *self.roles.maybe_slices]
        columns += [self.roles.label] if self.roles.label else []
        self._settle_free_sides(rows[:1])
        decoded = [
            np.prod([w or 1 for w in writer.shape_of_a_row], dtype=np.int64)
            for writer in self.writers.values() if writer.column.kind is not Kind.ARRAY
        ]
        size = max(1, min(size, (32 << 20) // max(1, int(sum(decoded)))))
        size = min(size, batch_rows([self.source.columns[c] for c in columns], size))
        done = 0
        for block in self.source.read(list(dict.fromkeys(columns)), rows, batch=size):
            here = rows[done : done + len(block[columns[0]])]
            done += len(here)
            yield Batch(
                rows=here,
                inputs={n: self.writers[n].convert(block[c], here) for n, c in self.roles.inputs.items()},
                labels=self.labels.convert(block[self.labels.column]) if self.labels else None,
                slices={c: block[c] for c in (*self.roles.slices, *self.roles.maybe_slices)},
            )
        if done != len(rows):
            raise DataUnreadable(self.source.text, f"it gave {done:,} of {len(rows):,} rows", "Copy or write it again.")
        for writer in self.writers.values():
            writer.finish()

    def _settle_free_sides(self, first: np.ndarray) -> None:
        """Let the first picture set what the model leaves free, so that it is known how many fit into a batch."""
        for name, column in self.roles.inputs.items():
            decoder = self.writers[name].decoder
            if decoder is not None and (decoder.height is None or decoder.width is None) and len(first):
                for block in self.source.read([column], first, batch=1):
                    decoder.settle(block[column][0], self.source.row_name(int(first[0])))

    def _span(self, split: str | None) -> range:
        return self.source.splits[split] if split else range(self.source.count)

    def _sizes(self, requests: Sequence[Request], splits: Mapping[Role, str | None]) -> dict[Role, int]:
        """How many rows each role takes; raises `DataMismatch` where some would get none."""
        sizes: dict[Role, int] = {}
        for request in sorted(requests, key=lambda r: _SIZES.index(r.role)):
            split = splits[request.role]
            sharing = {role for role, other in splits.items() if other == split} - {request.role}
            left = len(self._span(split)) - sum(sizes.get(role, 0) for role in sharing)
            sizes[request.role] = min(left, self._wanted(request, left, sharing))
        return sizes

    def _wanted(self, request: Request, left: int, sharing: Set[Role]) -> int:
        """Of `left` rows; `sharing` are the other roles that take from the same rows."""
        after = [role for role in _SIZES[_SIZES.index(request.role) + 1 :] if role in sharing]
        if after and left <= len(after):
            raise DataMismatch(
                self.source.text, f"samples for {request.role} and others for {' and for '.join(after)}",
                f"{left} {'row' if left == 1 else 'rows'} for them",
                "Give more rows, or one source for each.",
            )
        want = left if request.limit is None else request.limit
        if Role.TRAIN in sharing:
            return select.beside_training(left, want)
        if Role.TEST in sharing and request.role is Role.CALIBRATION:
            return select.calibration_share(left, want)
        if Role.TEST in sharing and request.role is Role.VALIDATION:
            return select.validation_share(left, want)
        return want

    def _pick(self, role: Role, rows: np.ndarray, want: int, seed: int) -> np.ndarray:
        if role is not Role.CALIBRATION:
            return select.choose_test(rows, want, seed)
        classes = None if self.labels is None or self.labels.per_row is None else self.labels.per_row[rows]
        return select.choose_calibration(rows, want, seed, classes)
