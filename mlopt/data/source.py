"""What a source of data is to the rest of mlopt: named columns of rows, read in one direction, in batches.

A reader knows its file format and nothing of models. Which column feeds which input stands in `roles`, how a picture
becomes an array in `images`, and what a label means in `labels`.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

BATCH_BYTES = 16 << 20      # what a reader aims to hold at once; small beside a worker's frameworks

Rows = Mapping[str, np.ndarray]


class Kind(enum.StrEnum):
    ARRAY = "array"         # numbers of one shape and dtype
    IMAGE = "image"         # encoded pictures (JPEG, PNG ...): an object array of bytes
    RAW = "raw"             # bytes of a tensor whose shape and dtype the file does not say: an object array of bytes
    TEXT = "text"           # an object array of str
    OTHER = "other"         # a type that mlopt does not read; `Column.dtype` names it


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    kind: Kind
    shape: tuple[int, ...] = ()         # of one row
    dtype: str = "object"               # numpy's name
    flat: bool = False                  # the format cannot hold a shape: rows may be reshaped, row-major
    names: tuple[str, ...] = ()         # what the numbers of a label column stand for, where the file says so

    def describe(self) -> str:
        """For messages.

        >>> Column(name="image", kind=Kind.ARRAY, shape=(32, 32, 3), dtype="uint8").describe()
        'image: uint8 [N, 32, 32, 3]'
        """
        what = {
            Kind.ARRAY: self.dtype, Kind.IMAGE: "encoded images", Kind.RAW: "raw bytes", Kind.TEXT: "text",
            Kind.OTHER: self.dtype,
        }[self.kind]
        sizes = f" [{', '.join(map(str, ('N', *self.shape)))}]" if self.kind is Kind.ARRAY else ""
        return f"{self.name}: {what}{sizes}"


@runtime_checkable
class Source(Protocol):
    """Rows of named columns. `mlopt.testing.contracts.SourceContract` checks an implementation."""

    text: str                           # as the user named it, for messages
    about: str                          # what it turned out to be, e.g. "parquet"
    count: int
    columns: Mapping[str, Column]
    splits: Mapping[str, range]         # rows of each named split ("train", "calibration", "validation", "test")
    notes: tuple[str, ...]              # what was left out when it was opened, and why

    def read(
        self, columns: Sequence[str], rows: np.ndarray | None = None, *, batch: int = 1024
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield the chosen rows of `columns`, in row order, at most `batch` rows at a time.

        `rows` are row numbers, ascending and without repetition; None means all. Rows that were not chosen are never
        decoded. The arrays belong to the caller.
        """
        ...

    def row_name(self, row: int) -> str:
        """What a person would call this row, e.g. "row 17" or "cats/003.jpg"."""
        ...


def chosen_between(rows: np.ndarray | None, start: int, stop: int) -> np.ndarray:
    """Which of the rows start..stop were chosen, counted from `start`.

    >>> chosen_between(np.array([2, 5, 9]), 4, 9).tolist()
    [1]
    """
    if rows is None:
        return np.arange(stop - start)
    low, high = np.searchsorted(rows, (start, stop))
    return np.asarray(rows[low:high], dtype=np.int64) - start


def batch_rows(columns: Sequence[Column], batch: int) -> int:
    """How many rows of `columns` to read at once: `batch`, or fewer where rows are large."""
    row_bytes = sum(
        int(np.prod(c.shape, dtype=np.int64)) * np.dtype(c.dtype).itemsize for c in columns if c.kind is Kind.ARRAY
    )
    return max(1, min(batch, BATCH_BYTES // max(1, row_bytes)))
