"""TFRecord files of tf.train.Example, plain or gzipped, read by this file alone.

A record is: length (8 bytes, little-endian), its masked CRC-32C (4), the bytes, their masked CRC-32C (4). The lengths
of all records are read once, so that chosen records are reached without reading the rest (except in gzip files).
"""

import array
import contextlib
import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mlopt.data import declared
from mlopt.data import splits as split_names
from mlopt.data.images import looks_encoded
from mlopt.data.readers import crc32c
from mlopt.data.readers.example import Feature, NotProtobuf, parse_example, parse_tensor
from mlopt.data.reading import open_file
from mlopt.data.source import BATCH_BYTES, Column, Kind, batch_rows, chosen_between
from mlopt.errors import DataUnreadable

_HEADER, _FOOTER = 12, 4
_HEADER_DTYPE = np.dtype([("length", "<u8"), ("check", "<u4")])
_CHECKED_AT_ONCE = 4096
_LARGEST_RECORD = 1 << 30       # a length above this is damage, not data
_LONGEST_TEXT = 256             # bytes; more is a tensor that happens to be printable


class TFRecordSource:
    about = "TFRecord"

    def __init__(self, text: str, files: Sequence[Path]) -> None:
        self.text = text
        self.notes: tuple[str, ...] = ()
        by_split = split_names.by_split(files)
        self.files = [file for _, parts in by_split for file in parts]
        self._names = split_names.names_below(self.files)
        self._offsets = [_record_offsets(file) for file in self.files]
        self._starts = np.cumsum([0] + [len(o) for o in self._offsets]).tolist()
        self.count = self._starts[-1]
        if self.count == 0:
            raise DataUnreadable(text, "it has no records", "Give a file with samples.")
        splits: dict[str, range] = {}
        for split, parts in by_split:
            if split is not None:
                at = [self.files.index(p) for p in parts]
                splits[split] = range(self._starts[at[0]], self._starts[at[-1] + 1])
        self.splits: Mapping[str, range] = splits
        first = self._parsed(next(self._records(np.array([0])))[1], 0)
        self.columns: Mapping[str, Column] = {name: _column(name, feature) for name, feature in sorted(first.items())}
        if not self.columns:
            raise DataUnreadable(text, "its first record has no features", "Give records of tf.train.Example.")

    def read(
        self, columns: Sequence[str], rows: np.ndarray | None = None, *, batch: int = 1024
    ) -> Iterator[dict[str, np.ndarray]]:
        wanted = np.arange(self.count) if rows is None else rows
        step = batch_rows([self.columns[c] for c in columns], batch)
        gathered: dict[str, list[object]] = {c: [] for c in columns}
        held = held_bytes = 0
        for row, record in self._records(wanted):
            features = self._parsed(record, row)
            for name in columns:
                gathered[name].append(self._value(name, features, row))
            held, held_bytes = held + 1, held_bytes + len(record)
            if held == step or held_bytes >= BATCH_BYTES:
                yield {c: _stacked(self.columns[c], values) for c, values in gathered.items()}
                gathered, held, held_bytes = {c: [] for c in columns}, 0, 0
        if held:
            yield {c: _stacked(self.columns[c], values) for c, values in gathered.items()}

    def row_name(self, row: int) -> str:
        if len(self.files) == 1:
            return f"record {row}"
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"record {row - self._starts[part]} of {self._names[part]}"

    def _records(self, rows: np.ndarray) -> Iterator[tuple[int, bytes]]:
        for file, offsets, start in zip(self.files, self._offsets, self._starts[:-1], strict=True):
            local = chosen_between(rows, start, start + len(offsets))
            if not len(local):
                continue
            with _opened(file) as (stream, _):
                for record in local.tolist():
                    try:
                        stream.seek(int(offsets[record]))
                        size = struct.unpack("<Q", stream.read(_HEADER)[:8])[0]
                        data, check = stream.read(size), stream.read(_FOOTER)
                    except (OSError, EOFError, zlib.error, struct.error) as err:
                        raise _damaged(file, f"record {record} cannot be read ({err})") from err
                    if len(check) < _FOOTER or crc32c.masked(crc32c.crc32c(data)) != struct.unpack("<I", check)[0]:
                        raise _damaged(file, f"record {record} does not match its checksum")
                    yield start + record, data

    def _parsed(self, record: bytes, row: int) -> dict[str, Feature]:
        try:
            return parse_example(record)
        except NotProtobuf as err:
            raise DataUnreadable(
                self.text, f"{self.row_name(row)} is not a tf.train.Example ({err})",
                "Other records need a Python entry: --data package.module:function.",
            ) from err

    def _value(self, name: str, features: dict[str, Feature], row: int) -> object:
        column = self.columns[name]
        value = features.get(name)
        if value is None:
            raise DataUnreadable(self.text, f"{self.row_name(row)} lacks the feature {name}", "Every record needs it.")
        if isinstance(value, list):
            if len(value) == 1 and column.kind is not Kind.ARRAY:
                return value[0].decode("utf-8", "replace") if column.kind is Kind.TEXT else value[0]
            tensor = parse_tensor(value[0]) if len(value) == 1 else None
            if tensor is not None and (tensor.shape, tensor.dtype.name) == (column.shape, column.dtype):
                return tensor
        elif column.kind is Kind.ARRAY and (len(value), value.dtype.name) == (math.prod(column.shape), column.dtype):
            return value.reshape(column.shape)
        raise DataUnreadable(
            self.text, f"feature {name} in {self.row_name(row)} is not like the first record's ({column.describe()})",
            "Every record needs the same type and number of values.",
        )


def _record_offsets(file: Path) -> np.ndarray:
    """Where each record starts, in the (unpacked) file; the lengths' checksums are checked, the records' not yet."""
    headers = _Headers(file)
    at = 0
    with _opened(file) as (stream, packed):
        while True:
            try:
                reached = stream.seek(at)
                header = stream.read(_HEADER)
            except (OSError, EOFError, zlib.error) as err:
                raise headers.damaged(f"unreadable after {headers.count:,} records ({err})") from err
            if reached < at:
                raise headers.damaged(f"cut off inside record {headers.count - 1:,}")
            if not header:
                return headers.offsets()
            if len(header) < _HEADER:
                raise headers.damaged(f"cut off after {headers.count:,} records")
            at = headers.add(at, header)
            if not isinstance(stream, gzip.GzipFile) and at > packed:
                raise headers.damaged(f"cut off inside record {headers.count - 1:,}")
            declared.check_unpacked(file, at, packed)
            declared.check_rows(file, headers.count, packed)


class _Headers:
    """The records' lengths as they are found; checksums are checked many at once, before anything is concluded."""

    def __init__(self, file: Path) -> None:
        self.file, self.count = file, 0
        self._starts = array.array("q")
        self._unchecked = bytearray()

    def add(self, at: int, header: bytes) -> int:
        """Note the record that starts at `at`, and say where it ends."""
        length = int.from_bytes(header[:8], "little")
        self._starts.append(at)
        self._unchecked += header
        self.count += 1
        if length > _LARGEST_RECORD or len(self._unchecked) >= _HEADER * _CHECKED_AT_ONCE:
            self._check()
        return at + _HEADER + length + _FOOTER

    def offsets(self) -> np.ndarray:
        """int64 [records]"""
        self._check()
        return np.array(self._starts, dtype=np.int64)

    def damaged(self, found: str) -> DataUnreadable:
        """What to raise for `found`; a damaged length goes before it, since it led there."""
        self._check()
        return _damaged(self.file, found)

    def _check(self) -> None:
        headers = np.frombuffer(bytes(self._unchecked), dtype=_HEADER_DTYPE)
        wrong = (headers["length"] > _LARGEST_RECORD) | (crc32c.of_lengths(headers["length"]) != headers["check"])
        if wrong.any():
            record = self.count - len(headers) + int(wrong.argmax())
            raise _damaged(self.file, f"record {record:,} has a damaged length")
        self._unchecked.clear()


def looks_like_tfrecord(head: bytes) -> bool:
    """Whether the first 12 bytes are a length and its checksum."""
    if len(head) < _HEADER:
        return False
    length, check = struct.unpack("<QI", head[:_HEADER])
    return length <= _LARGEST_RECORD and int(crc32c.of_lengths(np.array([length], np.uint64))[0]) == check


def _column(name: str, feature: Feature) -> Column:
    if not isinstance(feature, list):
        shape = () if len(feature) == 1 else (len(feature),)
        return Column(name=name, kind=Kind.ARRAY, shape=shape, dtype=feature.dtype.name, flat=True)
    data = feature[0]
    if len(feature) > 1:
        return Column(name=name, kind=Kind.OTHER, dtype=f"{len(feature)} byte strings a record")
    if looks_encoded(data):
        return Column(name=name, kind=Kind.IMAGE)
    tensor = parse_tensor(data)
    if tensor is not None:
        return Column(name=name, kind=Kind.ARRAY, shape=tensor.shape, dtype=tensor.dtype.name)
    return Column(name=name, kind=Kind.TEXT if _is_text(data) else Kind.RAW)


def _stacked(column: Column, values: list[object]) -> np.ndarray:
    if column.kind is Kind.ARRAY:
        return np.array(values, dtype=column.dtype).reshape(len(values), *column.shape)
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _is_text(data: bytes) -> bool:
    try:
        return len(data) <= _LONGEST_TEXT and data.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The records' bytes, unpacked where they are packed, and how many bytes the file has."""
    with open_file(file) as stream:
        packed = os.fstat(stream.fileno()).st_size
        if stream.peek(2)[:2] != b"\x1f\x8b":
            yield stream, packed
            return
        with gzip.GzipFile(fileobj=stream) as unpacked:
            yield unpacked, packed                  # type: ignore[misc]


def _damaged(file: Path, found: str) -> DataUnreadable:
    return DataUnreadable(file, found, "Copy the file again.")
