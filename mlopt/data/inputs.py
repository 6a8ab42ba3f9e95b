"""From a column's rows to what is stored for one input of a model, with every check that can be made on the way."""

import math
from collections.abc import Sequence

import numpy as np

from mlopt.data.images import Decoder, PictureShape
from mlopt.data.source import Column, Kind, Source
from mlopt.errors import DataMismatch
from mlopt.model import TensorSpec

_KEPT_FOR_FLOAT = frozenset({"uint8", "int8", "uint16", "int16", "float16", "float32"})


class InputWriter:
    """Converts one input's rows batch by batch, and remembers what it saw: range, NaN, whether rows differ at all.

    Stored is the source's own dtype where that is at most 4 bytes and a float32 holds it exactly, else float32; and the
    model's dtype where the model takes integers.
    """

    def __init__(self, spec: TensorSpec, column: Column, source: Source, *, resize: bool, alone: bool = False) -> None:
        self.spec, self.column, self.source, self.alone = spec, column, source, alone
        self.notes_made: list[str] = []
        self.decoder = Decoder(spec, source.text, resize=resize) if column.kind is Kind.IMAGE else None
        self.takes_integers = np.dtype(spec.dtype).kind in "iu" if _is_number(spec.dtype) else False
        self.low, self.high = math.inf, -math.inf
        self.bad_values, self.first_bad = 0, -1
        self.rows_differ, self.rows_seen = False, 0
        self._first: np.ndarray | None = None
        self._shape = self._stored_shape() if column.kind is Kind.ARRAY else None
        self._check_dtype()

    @property
    def holds_pixels(self) -> bool:
        """Whether a normalisation of pixels is meant for it: it is the only input, or 0..255 is natural to it."""
        if self.takes_integers or self.alone:
            return not self.takes_integers
        is_picture = PictureShape.of(self.spec) is not None and len(self.spec.shape) == 4
        return self.column.kind is Kind.IMAGE or self.column.dtype == "uint8" or is_picture

    @property
    def shape_of_a_row(self) -> tuple[int | None, ...]:
        """As it will be stored; None for a side that is still free."""
        if self.decoder is not None:
            return self.decoder.height, self.decoder.width, self.decoder.shape.channels
        return self.spec.shape[1:]

    def convert(self, block: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Rows as they are stored; `rows` are their numbers in the source, for messages."""
        if self.decoder is not None:
            stored = self._cast(self.decoder.decode(block.tolist(), [self.source.row_name(int(r)) for r in rows]), rows)
        elif self.column.kind is Kind.RAW:
            stored = self._cast(self._from_raw(block, rows), rows)
        else:
            assert self._shape is not None
            stored = self._cast(block.reshape(len(block), *self._shape), rows)
        self._watch(stored, rows)
        return stored

    def finish(self) -> None:
        """Raise for what can only be told at the end: how many values are NaN or infinite."""
        if self.bad_values:
            raise DataMismatch(
                self.source.text, f"finite numbers for {self.spec.describe()}",
                f"{self.bad_values:,} NaN or infinite values, the first one in {self.source.row_name(self.first_bad)}",
                "Fill or drop such rows.",
            )

    def notes(self) -> tuple[str, ...]:
        return (*self.notes_made, *(self.decoder.notes() if self.decoder else ()))

    def doubts(self, normalise: tuple[float, float] | None) -> tuple[str, ...]:
        """Sentences on values that look wrong for a model; none is certain, so none is an error."""
        name, found = self.spec.name, f"{self.low:g} to {self.high:g}"
        if self.low == self.high:
            return (f"every value of input {name} is {self.low:g}: such samples say nothing of the model",)
        doubts = []
        if not self.rows_differ and self.rows_seen > 1:
            doubts.append(f"all samples of input {name} are the same")
        if normalise and self.holds_pixels:
            if self.high <= 1:
                doubts.append(
                    f"input {name} holds {found}, and the normalisation expects 0 to 255: the data seems normalised "
                    "already"
                )
            elif self.low < 0 or self.high > 255:
                doubts.append(f"input {name} holds {found}, and the normalisation expects 0 to 255")
        return tuple(doubts)

    def _stored_shape(self) -> tuple[int, ...]:
        found, wanted = self.column.shape, self.spec.shape[1:]
        if len(found) == len(wanted) and all(w in (None, f) for f, w in zip(found, wanted, strict=True)):
            return found
        fixed = tuple(w for w in wanted if w is not None)
        if len(fixed) == len(wanted):
            if [s for s in found if s != 1] == [s for s in fixed if s != 1]:
                self.notes_made.append(f"column {self.column.name}: rows of {list(found)} read as {list(fixed)}")
                return fixed
            if self.column.flat and math.prod(found) == math.prod(fixed):
                self.notes_made.append(
                    f"column {self.column.name}: flat rows of {math.prod(found):,} values read as {list(fixed)}, last "
                    "axis fastest"
                )
                return fixed
        raise DataMismatch(
            self.source.text, self.spec.describe(), self.column.describe(), self._shape_remedy(found, wanted)
        )

    def _shape_remedy(self, found: tuple[int, ...], wanted: tuple[int | None, ...]) -> str:
        if len(found) == 3 == len(wanted):
            for turned, layout, call in (
                ((found[1], found[2], found[0]), "channels first (NCHW)", "(0, 2, 3, 1)"),
                ((found[2], found[0], found[1]), "channels last (NHWC)", "(0, 3, 1, 2)"),
            ):
                if all(w in (None, t) for t, w in zip(turned, wanted, strict=True)):
                    return f"The data looks {layout}: store numpy.transpose(x, {call})."
        if len(found) == 2 == len(wanted) and all(
            w in (None, f) for f, w in zip(found[::-1], wanted, strict=True)
        ):
            return "The two axes look swapped: store numpy.transpose(x, (0, 2, 1))."
        if len(found) + 1 == len(wanted) and all(
            w in (None, f) for f, w in zip((self.source.count, *found), wanted, strict=True)
        ):
            return "It looks like one sample without the first axis: store x[None]."
        return "Bring the samples to the model's shape as they were in training."

    def _check_dtype(self) -> None:
        kind = np.dtype(self.column.dtype).kind if self.column.kind is Kind.ARRAY else "u"
        if not _is_number(self.spec.dtype) or kind not in "biuf":
            raise DataMismatch(self.source.text, self.spec.describe(), self.column.describe(), "Give numbers.")
        if self.takes_integers and kind == "f":
            raise DataMismatch(
                self.source.text, self.spec.describe(), self.column.describe(),
                f"The model takes whole numbers: store x.astype('{self.spec.dtype}').",
            )

    def _cast(self, block: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if self.takes_integers:
            limits = np.iinfo(self.spec.dtype)
            outside = (block < limits.min) | (block > limits.max) if block.dtype != bool else np.zeros(1, bool)
            if outside.any():
                at = int(outside.reshape(len(block), -1).any(1).argmax())
                raise DataMismatch(
                    self.source.text, f"{self.spec.describe()}, so {limits.min} to {limits.max}",
                    f"{block[outside].flat[0]} in {self.source.row_name(int(rows[at]))}",
                )
            return block.astype(self.spec.dtype)
        if block.dtype == bool:
            return block.astype(np.uint8)
        if block.dtype.name in _KEPT_FOR_FLOAT:
            return block
        note = f"column {self.column.name}: {block.dtype.name} read as float32"
        if note not in self.notes_made:
            self.notes_made.append(note)
        with np.errstate(over="ignore", invalid="ignore"):      # becomes infinite or NaN, and is counted as such
            return block.astype(np.float32)

    def _from_raw(self, block: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Bytes of a tensor whose file does not say what they are: the size decides between uint8 and float32."""
        wanted = self.spec.shape[1:]
        values = math.prod(w or 0 for w in wanted)
        dtypes: dict[int, np.dtype] = {values: np.dtype(np.uint8), 4 * values: np.dtype("<f4")}
        for data, row in zip(block, rows, strict=True):
            if not values or len(data) != len(block[0]) or len(data) not in dtypes:
                raise DataMismatch(
                    self.source.text, f"{self.spec.describe()}, so {values:,} values a row",
                    f"{len(data):,} bytes in column {self.column.name}, {self.source.row_name(int(row))}",
                    f"Raw bytes are read as uint8 ({values:,} bytes) or float32 ({4 * values:,} bytes).",
                )
        dtype = dtypes[len(block[0])]
        note = f"column {self.column.name}: raw bytes read as {dtype.name} {list(wanted)}"
        if note not in self.notes_made:
            self.notes_made.append(note)
        sizes: Sequence[int] = [w or 0 for w in wanted]
        return np.frombuffer(b"".join(block), dtype=dtype).reshape(len(block), *sizes)

    def _watch(self, block: np.ndarray, rows: np.ndarray) -> None:
        if not block.size:
            return
        self.rows_seen += len(block)
        if self._first is None:
            self._first = block[0].copy()
        self.rows_differ = self.rows_differ or bool((block != self._first).any())
        low, high = float(block.min()), float(block.max())
        if math.isfinite(low) and math.isfinite(high):
            self.low, self.high = min(self.low, low), max(self.high, high)
            return
        bad = ~np.isfinite(block)
        if not self.bad_values:
            self.first_bad = int(rows[int(bad.reshape(len(block), -1).any(1).argmax())])
        self.bad_values += int(bad.sum())


def _is_number(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "biuf"
    except TypeError:
        return False
