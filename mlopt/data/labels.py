"""What a label column means for a model: class numbers, or values; checked against the model's outputs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlopt.data.source import Column, Kind, Source
from mlopt.errors import DataMismatch
from mlopt.model import Signature, TensorSpec
from mlopt.outputs import LabelKind

_LONGEST_NUMBER = 18        # digits that an int64 holds whatever they are


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How to store a label column, after all of it has been looked at."""

    kind: LabelKind
    column: str
    output: str                                         # the model's output that the labels are for
    convert: Callable[[np.ndarray], np.ndarray]         # rows as read -> rows as stored
    per_row: np.ndarray | None = None                   # int64 [source rows]: one class a row, where there is one
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def say_nothing_of_the_output(source: Source, column: str, signature: Signature) -> bool:
    """True for marks such as a machine's number beside a model that gives back what it takes: they group its samples.

    Told from class numbers by how few they are: at most half as many as the output has values. Zeros and ones alone are
    labels: they mark anomalies, which the reconstruction error should tell apart.
    """
    inputs = {spec.shape[1:] for spec in signature.inputs}
    output = signature.outputs[0].shape[1:]
    described = source.columns[column]
    if output not in inputs or not output or described.shape not in ((), (1,)):
        return False
    different: set[object] = set()
    for rows in source.read([column], batch=1 << 16):
        different.update(np.unique(rows[column]).tolist())
    if different == {0, 1}:
        return False
    return len(output) > 1 or len(different) <= (output[-1] or 0) // 2


def interpret(source: Source, column: str, signature: Signature) -> Labels:
    """Read the whole label column once, and decide; raises `DataMismatch` where the labels cannot be the model's."""
    described = source.columns[column]
    if described.kind is Kind.TEXT:
        return _from_text(source, column, signature)
    output, many = _output_for(source, described, signature)
    numbers = output.shape[1:]
    classes = (numbers[-1] or 0) if numbers else 1
    whole = classes >= 2 and _fits(described.shape, numbers)
    scan = _Scan(source, column, keep=described.shape in ((), (1,)), one_hot=whole)
    scan.refuse_nan(output)
    if whole:
        if scan.one_hot:
            return Labels(
                kind=LabelKind.CATEGORIES, column=column, output=output.name, convert=_class_of_one_hot,
                per_row=scan.classes, class_names=described.names,
                notes=(*many, f"column {column}: one-hot rows read as class numbers"),
            )
        return _values(column, output, many, f"column {column}: rows are not one-hot, so they are read as values")
    if classes < 2 and not (scan.integral and scan.low >= 0 and scan.high <= 1):
        return _values(column, output, many, "")
    if not scan.integral:
        raise DataMismatch(
            source.text, f"class numbers 0 to {classes - 1} for the output {output.describe()}",
            f"fractions in column {column} (the first one in {source.row_name(scan.first_fraction)})",
            "Give class numbers, one-hot rows, or values of the output's shape.",
        )
    if scan.low < 0 or scan.high >= max(classes, 2):
        raise _outside(source, column, max(classes, 2), *scan.outside(max(classes, 2)), lowest=int(scan.low))
    return Labels(
        kind=_kind(output), column=column, output=output.name, per_row=scan.classes,
        convert=lambda block: _class_numbers(block, places=len(numbers[:-1])), class_names=described.names,
        notes=(*many, *_name_notes(described.names, classes)),
    )


def _from_text(source: Source, column: str, signature: Signature) -> Labels:
    seen: dict[str, str] = {}                   # equal words are kept once
    words = np.array(
        [seen.setdefault(word, word) for rows in source.read([column]) for word in rows[column]], dtype=object
    )
    names = sorted(seen)
    output, many = _output_for(source, Column(name=column, kind=Kind.ARRAY, dtype="int64"), signature)
    classes = _classes_of(output)
    if all(name.isdecimal() and len(name) <= _LONGEST_NUMBER for name in names):
        return _from_digits(source, column, output, words, many)
    if len(names) > classes:
        raise DataMismatch(
            source.text, f"at most {classes} classes ({output.describe()})",
            f"{len(names):,} different words in column {column} ({', '.join(names[:4])} ...)",
        )
    numbers = {name: i for i, name in enumerate(names)}
    return Labels(
        kind=_kind(output), column=column, output=output.name, class_names=tuple(names),
        convert=lambda block: np.array([numbers[word] for word in block], dtype=np.int32),
        per_row=np.array([numbers[word] for word in words], dtype=np.int64),
        notes=(*many, f"column {column}: words numbered in sorted order", *_name_notes(names, classes)),
    )


def _from_digits(source: Source, column: str, output: TensorSpec, words: np.ndarray, many: tuple[str, ...]) -> Labels:
    classes = _classes_of(output)
    per_row = words.astype(np.int64)
    outside = per_row[per_row >= classes]
    if len(outside):
        raise _outside(source, column, classes, len(outside), np.unique(outside).tolist(), lowest=int(per_row.min()))
    return Labels(
        kind=_kind(output), column=column, output=output.name, per_row=per_row,
        convert=lambda block: block.astype(np.int64).astype(np.int32),
        notes=(*many, f"column {column}: digits read as class numbers"),
    )


def _classes_of(output: TensorSpec) -> int:
    """How many classes the output tells apart; one value a sample tells two."""
    return max(2, (output.shape[-1] or 0) if len(output.shape) > 1 else 1)


def _kind(output: TensorSpec) -> LabelKind:
    """Of class numbers."""
    return LabelKind.CATEGORIES if len(output.shape) > 1 and (output.shape[-1] or 0) > 1 else LabelKind.BINARY


def _values(column: str, output: TensorSpec, many: tuple[str, ...], note: str) -> Labels:
    shape = tuple(output.shape[1:])

    def convert(block: np.ndarray) -> np.ndarray:
        values = block.astype(np.float32)
        return values.reshape(len(block), *shape) if None not in shape else values

    return Labels(
        kind=LabelKind.VALUES, column=column, output=output.name, convert=convert,
        notes=(*many, *((note,) if note else ())),
    )


def _output_for(source: Source, column: Column, signature: Signature) -> tuple[TensorSpec, tuple[str, ...]]:
    """The output that the labels fit: the one named like the column, else the first; and a note where several are."""
    by_name = sorted(signature.outputs, key=lambda spec: spec.name.lower() != column.name.lower())
    for spec in by_name:
        shape = spec.shape[1:]
        per_place = shape[:-1]
        if any(_fits(column.shape, s) for s in (shape, per_place, (*per_place, 1))):
            several = len(signature.outputs) > 1
            return spec, ((f"column {column.name} is taken for the output {spec.name}",) if several else ())
    raise DataMismatch(
        source.text, "labels for " + "; ".join(s.describe() for s in signature.outputs), f"labels {column.describe()}",
        "Give one class number a row, one-hot rows, or values of the output's shape.",
    )


class _Scan:
    """One pass over a label column: its range, and whether it holds class numbers or one-hot rows."""

    def __init__(self, source: Source, column: str, *, keep: bool, one_hot: bool) -> None:
        self.source, self.column = source, column
        self.integral, self.one_hot = True, one_hot
        self.low, self.high = np.inf, -np.inf
        self.nan_rows, self.first_nan, self.first_fraction = 0, -1, -1
        kept: list[np.ndarray] = []
        row = 0
        for block in self._blocks():
            flat = block.reshape(len(block), -1)
            if block.dtype.kind == "f":
                self._look_at_floats(flat, row)
            if flat.size:
                self.low, self.high = min(self.low, flat.min()), max(self.high, flat.max())
            if self.one_hot:
                rows = block.reshape(-1, block.shape[-1])
                self.one_hot = bool((((rows == 0) | (rows == 1)).all(1) & (rows.sum(1, dtype=np.float64) == 1)).all())
            if keep:
                kept.append(flat[:, 0])
            elif self.one_hot and block.ndim == 2:
                kept.append(flat.argmax(1))
            row += len(block)
        self._kept = np.concatenate(kept) if kept else None

    @property
    def classes(self) -> np.ndarray | None:
        return None if self._kept is None else self._kept.astype(np.int64)

    def outside(self, classes: int) -> tuple[int, list[int]]:
        """How many labels are no class, and which values they have."""
        count, values = 0, set[int]()
        for block in self._blocks():
            bad = block[(block < 0) | (block >= classes)]
            count += bad.size
            values.update(int(v) for v in np.unique(bad))
        return count, sorted(values)

    def refuse_nan(self, output: TensorSpec) -> None:
        if self.nan_rows:
            raise DataMismatch(
                self.source.text, f"a label in every row (for {output.describe()})",
                f"NaN or infinite labels in {self.nan_rows:,} rows, first in {self.source.row_name(self.first_nan)}",
                "Fill or drop such rows.",
            )

    def _blocks(self) -> Iterator[np.ndarray]:
        for rows in self.source.read([self.column], batch=1 << 16):
            yield rows[self.column]

    def _look_at_floats(self, flat: np.ndarray, row: int) -> None:
        bad = ~np.isfinite(flat).all(1)
        if bad.any():
            self.first_nan = row + int(bad.argmax()) if not self.nan_rows else self.first_nan
            self.nan_rows += int(bad.sum())
        fractions = (flat != np.round(flat)).any(1)
        if self.integral and fractions.any():
            self.integral, self.first_fraction = False, row + int(fractions.argmax())


def _outside(
    source: Source, column: str, classes: int, count: int, values: Sequence[int], *, lowest: int
) -> DataMismatch:
    listed = ", ".join(map(str, values[:8])) + (f" and {len(values) - 8} more" if len(values) > 8 else "")
    from_one = lowest == 1 and list(values) == [classes]
    return DataMismatch(
        source.text, f"class numbers 0 to {classes - 1}",
        f"{count:,} of {source.count:,} labels outside, in column {column}: {listed}",
        "They seem to count from 1: subtract 1." if from_one else "Correct the labels, or name the right column label.",
    )


def _name_notes(names: Sequence[str], classes: int) -> tuple[str, ...]:
    if names and len(names) != max(classes, 2):
        return (f"{len(names)} class names for {max(classes, 2)} outputs: label i is taken for output i",)
    return ()


def _class_numbers(block: np.ndarray, *, places: int) -> np.ndarray:
    """Without a last axis of one, where the output's own last axis is the classes'."""
    return (block[..., 0] if block.ndim == places + 2 else block).astype(np.int32)


def _class_of_one_hot(block: np.ndarray) -> np.ndarray:
    return block.argmax(-1).astype(np.int32)


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w is None or w == s for s, w in zip(shape, wanted, strict=True))
