"""`.parquet`: array columns of any nesting, or encoded images, streamed by row group; one file or a folder of parts."""

import contextlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlopt.data import declared
from mlopt.data import splits as split_names
from mlopt.data.images import looks_encoded
from mlopt.data.reading import open_file
from mlopt.data.source import BATCH_BYTES, Column, Kind, batch_rows, chosen_between
from mlopt.errors import DataUnreadable

_READ_BYTES = 1 << 20       # of a column chunk at a time, instead of the whole chunk
_BROKEN = (pa.ArrowException, OSError, ValueError, LookupError, OverflowError)      # what pyarrow raises for damage


class ParquetSource:
    about = "parquet"

    def __init__(self, text: str, files: Sequence[Path]) -> None:
        """`files` hold one table in parts; a part whose name says train, val or test belongs to that split."""
        self.text = text
        by_split = split_names.by_split(files)
        self.files = [file for _, parts in by_split for file in parts]
        self._names = split_names.names_below(self.files)
        self._tables = [_open(file) for file in self.files]
        self._schemas = [_schema(file, table) for file, table in zip(self.files, self._tables, strict=True)]
        self._starts = np.cumsum([0] + [t.metadata.num_rows for t in self._tables]).tolist()
        self.count = self._starts[-1]
        self.splits: Mapping[str, range] = {s: self._rows_of(parts) for s, parts in by_split if s is not None}
        self.notes: tuple[str, ...] = ()
        self._check_same_schema()
        self._wrapped: set[str] = set()         # columns of {bytes, path}
        self.columns: Mapping[str, Column] = self._described()

    def read(
        self, columns: Sequence[str], rows: np.ndarray | None = None, *, batch: int = 1024
    ) -> Iterator[dict[str, np.ndarray]]:
        step = batch_rows([self.columns[c] for c in columns], batch)
        for table, first in zip(self._tables, self._starts[:-1], strict=True):
            start = first
            for group in range(table.num_row_groups):
                stop = start + table.metadata.row_group(group).num_rows
                if start < stop and len(chosen_between(rows, start, stop)):
                    with _as_damaged(self.text, f"row group {group} is damaged"):
                        most = min(step, _rows_held(table, group, columns))
                    yield from self._read_group(table, group, columns, rows, start=start, step=most)
                start = stop

    def row_name(self, row: int) -> str:
        if len(self.files) == 1:
            return f"row {row}"
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"row {row - self._starts[part]} of {self._names[part]}"

    def _read_group(
        self, table: pq.ParquetFile, group: int, columns: Sequence[str], rows: np.ndarray | None, *, start: int,
        step: int,
    ) -> Iterator[dict[str, np.ndarray]]:
        wanted = [f"{c}.bytes" if c in self._wrapped else c for c in columns]
        end = start + table.metadata.row_group(group).num_rows
        with _as_damaged(self.text, f"row group {group} is damaged"):
            for block in table.iter_batches(batch_size=step, row_groups=[group], columns=wanted, use_threads=False):
                local = chosen_between(rows, start, start + block.num_rows)
                if len(local):
                    taken = block if len(local) == block.num_rows else block.take(pa.array(local))
                    yield {c: self._array(c, taken.column(c), start + local) for c in columns}
                start += block.num_rows
        if start != end:
            raise DataUnreadable(
                self.text, f"row group {group} ends at row {start:,}, and declares {end:,}", "Copy or write it again."
            )

    def _array(self, name: str, values: pa.Array, rows: np.ndarray) -> np.ndarray:
        if name in self._wrapped:
            values = pc.struct_field(values, "bytes")
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()         # first: what an index points to may be null as well
        if values.null_count:
            where = int(rows[int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])])
            raise DataUnreadable(
                self.text, f"column {name} is empty (null) in {self.row_name(where)}", "Fill or drop such rows."
            )
        column = self.columns[name]
        if column.kind is Kind.ARRAY:
            return self._numbers(name, values, rows)
        out = np.empty(len(values), dtype=object)
        out[:] = values.to_pylist()
        return out

    def _numbers(self, name: str, values: pa.Array, rows: np.ndarray) -> np.ndarray:
        if isinstance(values.type, pa.FixedShapeTensorType):
            return np.array(values.to_numpy_ndarray()).reshape(len(rows), *self.columns[name].shape)
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        shape = self.columns[name].shape
        for depth, size in enumerate(shape):
            self._refuse_inner_null(name, values)
            if not pa.types.is_fixed_size_list(values.type):
                lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
                if (lengths != size).any():
                    per_row = int(np.prod(shape[:depth], dtype=np.int64))
                    bad = int(np.flatnonzero(lengths != size)[0])
                    raise DataUnreadable(
                        self.text,
                        f"column {name} has {size} values in the first row and {lengths[bad]} in "
                        f"{self.row_name(int(rows[bad // per_row]))} (nesting level {depth + 1})",
                        "Every row needs the same shape.",
                    )
            values = values.flatten()
        self._refuse_inner_null(name, values)
        return np.array(values.to_numpy(zero_copy_only=False)).reshape(len(rows), *shape)

    def _refuse_inner_null(self, name: str, values: pa.Array) -> None:
        if values.null_count:
            raise DataUnreadable(self.text, f"column {name} holds empty (null) values inside its lists", "Fill them.")

    def _described(self) -> dict[str, Column]:
        if self.count == 0:
            raise DataUnreadable(self.text, "it has no rows", "Give a file with samples.")
        filled = next(t for t in self._tables if t.metadata.num_rows)
        class_names = _hugging_face_names(self._schemas[0])
        columns = {f.name: self._column(f, filled, class_names.get(f.name, ())) for f in self._schemas[0]}
        for name, column in columns.items():
            if column.kind is Kind.ARRAY:
                size = math.prod(column.shape) * np.dtype(column.dtype).itemsize
                declared.check_row(self.text, name, size)
        return columns

    def _column(self, field: pa.Field, table: pq.ParquetFile, names: tuple[str, ...]) -> Column:
        kind, name = field.type, field.name
        if isinstance(kind, pa.FixedShapeTensorType):
            dtype = _dtype(kind.value_type)
            return Column(name=name, kind=Kind.ARRAY, shape=tuple(kind.shape), dtype=dtype)
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type):
            self._wrapped.add(name)
            return self._bytes_column(name, table)
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if _is_binary(kind):
            return self._bytes_column(name, table)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return Column(name=name, kind=Kind.TEXT)
        return _array_column(self.text, field, kind, table, names)

    def _bytes_column(self, name: str, table: pq.ParquetFile) -> Column:
        first = _first(self.text, table, name).as_py()
        data = first.get("bytes") if isinstance(first, dict) else first
        if data is None and name in self._wrapped:
            return Column(name=name, kind=Kind.OTHER, dtype="image paths without the images' bytes")
        return Column(name=name, kind=Kind.IMAGE if data is None or looks_encoded(data) else Kind.RAW)

    def _rows_of(self, parts: Sequence[Path]) -> range:
        at = [self.files.index(p) for p in parts]
        return range(self._starts[at[0]], self._starts[at[-1] + 1])

    def _check_same_schema(self) -> None:
        for file, schema in zip(self.files, self._schemas, strict=True):
            if not schema.equals(self._schemas[0]):
                raise DataUnreadable(
                    self.text, f"{file.name} has other columns than {self.files[0].name}", "Give parts of one table."
                )


def _rows_held(table: pq.ParquetFile, group: int, columns: Sequence[str]) -> int:
    """How many rows of a group take about `BATCH_BYTES`, by what the file says of its columns' sizes."""
    facts = table.metadata.row_group(group)
    chunks = [facts.column(i) for i in range(facts.num_columns)]
    held = sum(c.total_uncompressed_size for c in chunks if _belongs(c.path_in_schema, columns))
    return max(1, BATCH_BYTES * facts.num_rows // max(1, held))


def _array_column(
    text: str, field: pa.Field, kind: pa.DataType, table: pq.ParquetFile, names: tuple[str, ...]
) -> Column:
    """Numbers, or lists of them to any depth; the first row sets the shape."""
    depth, inner = 0, kind
    while pa.types.is_list(inner) or pa.types.is_large_list(inner) or pa.types.is_fixed_size_list(inner):
        depth, inner = depth + 1, inner.value_type
    dtype = _numpy_name(inner)
    if dtype is None:
        return Column(name=field.name, kind=Kind.OTHER, dtype=str(field.type))
    shape = _shape_of_first(text, table, field.name, depth) if depth else ()
    if shape is None:
        return Column(name=field.name, kind=Kind.OTHER, dtype=f"{field.type}, first row empty")
    return Column(name=field.name, kind=Kind.ARRAY, shape=shape, dtype=dtype, flat=depth == 1, names=names)


def _belongs(path: str, columns: Sequence[str]) -> bool:
    return any(path == column or path.startswith(f"{column}.") for column in columns)


def _open(file: Path) -> pq.ParquetFile:
    """The table, after its counts and sizes were held against the file's."""
    with open_file(file) as stream, _as_damaged(file, "not a whole parquet file"):
        packed = os.fstat(stream.fileno()).st_size
        table = pq.ParquetFile(
            f"/dev/fd/{stream.fileno()}",       # what was opened and found to be a regular file, by arrow's own handle
            buffer_size=_READ_BYTES, pre_buffer=False, page_checksum_verification=True,
        )
        facts = table.metadata
        groups = [facts.row_group(i) for i in range(facts.num_row_groups)]
        chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
        counts = [group.num_rows for group in groups]
        sizes = [size for chunk in chunks for size in (chunk.total_uncompressed_size, chunk.num_values)]
    if min([*counts, *sizes], default=0) < 0 or sum(counts) != facts.num_rows:
        raise DataUnreadable(
            file, f"it declares {facts.num_rows:,} rows and groups of {sum(counts):,}", "Copy or write it again."
        )
    declared.check_rows(file, facts.num_rows, packed)
    declared.check_unpacked(file, sum(chunk.total_uncompressed_size for chunk in chunks), packed)
    declared.check_unpacked(file, sum(chunk.num_values for chunk in chunks), packed)      # a byte each, at the least
    return table


def _schema(file: Path, table: pq.ParquetFile) -> pa.Schema:
    """Its columns as arrow has them, no two of one name."""
    with _as_damaged(file, "its list of columns is damaged"):
        schema = table.schema_arrow
        names = Counter(schema.names)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise DataUnreadable(file, f"two columns are named {twice[0]}", "Give each column a name of its own.")
    return schema


@contextlib.contextmanager
def _as_damaged(source: str | Path, what: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:         # arrow's own is among what is caught below, and says nothing of damage
        raise
    except _BROKEN as err:
        raise DataUnreadable(source, f"{what} ({_short(err)})", "Copy it again.") from err


def _first(text: str, table: pq.ParquetFile, name: str) -> pa.Scalar:
    """The first row's value of a column, as an arrow scalar."""
    with _as_damaged(text, f"column {name} is damaged"):
        block = next(table.iter_batches(batch_size=1, columns=[name]), None)
        if block is None or not block.num_rows:
            raise DataUnreadable(text, f"column {name} has no rows where the file declares some", "Copy it again.")
        return block.column(name)[0]


def _shape_of_first(text: str, table: pq.ParquetFile, name: str, depth: int) -> tuple[int, ...] | None:
    value, shape = _first(text, table, name), []
    for _ in range(depth):
        if not value.is_valid or not len(value):
            return None
        shape.append(len(value))
        value = value[0]
    return tuple(shape)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _numpy_name(kind: pa.DataType) -> str | None:
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return _dtype(kind)
    return None


def _dtype(kind: pa.DataType) -> str:
    """What numpy calls an arrow type; arrow's own answer asks pandas first, where that is installed."""
    return pa.array([], kind).to_numpy(zero_copy_only=False).dtype.name


def _hugging_face_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Class names that the Hugging Face `datasets` library writes into a file's metadata."""
    found: dict[str, tuple[str, ...]] = {}
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):   # another writer's
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        for name, feature in features.items():
            if feature.get("_type") == "ClassLabel":
                found[name] = tuple(_whole(str(n)) for n in feature["names"])
    return found


def _whole(text: str) -> str:
    """The text, which a report can be written with; UnicodeEncodeError for half of a surrogate pair."""
    text.encode()
    return text


def _short(err: BaseException) -> str:
    return str(err).splitlines()[0][:160] if str(err) else type(err).__name__
