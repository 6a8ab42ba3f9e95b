"""`.npz` and `.npy`: each array is streamed out of its archive, in rows, and never unpickled.

`x_train`, `y_train`, `x_test`, `y_test` in one file are the columns x and y with the splits train and test.
"""

import contextlib
import math
import os
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mlopt import archives
from mlopt.data import declared
from mlopt.data import splits as split_names
from mlopt.data.readers.npy_header import MAGIC, read_header
from mlopt.data.reading import open_file
from mlopt.data.roles import INPUT_NAMES, LABEL_NAMES
from mlopt.data.source import BATCH_BYTES, Column, Kind, chosen_between
from mlopt.errors import DataUnreadable

_BROKEN = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError,
    OverflowError, IndexError,
)
_MOST_MEMBERS = 10_000
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)     # half a character each: nothing could be written with them


@dataclass(frozen=True, kw_only=True)
class Member:
    """One array inside the archive."""

    file: str               # "" for a plain .npy
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool           # columns before rows: cannot be streamed in rows

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize


class NpzSource:
    about = "npz"

    def __init__(self, path: Path) -> None:
        self.path, self.text = path, str(path)
        with open_file(path) as file:
            self.is_archive = file.read(len(MAGIC)) != MAGIC
            self.packed_bytes = os.fstat(file.fileno()).st_size
        self.about = "npz" if self.is_archive else "npy"
        self.notes: tuple[str, ...] = ()
        members = self._archived() if self.is_archive else self._alone()
        if not members:
            raise DataUnreadable(
                path, "; ".join(["it holds no plain array", *self.notes]), "Give arrays of numbers, of shape [N, ...]."
            )
        self._lengths: list[int] = []
        self.columns: Mapping[str, Column] = {}
        self.splits: Mapping[str, range] = {}
        self._parts, self.columns, self.splits = self._arranged(members)
        self.count = sum(self._lengths)
        declared.check_rows(path, self.count, self.packed_bytes)
        for name, pieces in self._parts.items():
            declared.check_row(path, name, pieces[0].row_bytes)

    def read(
        self, columns: Sequence[str], rows: np.ndarray | None = None, *, batch: int = 1024
    ) -> Iterator[dict[str, np.ndarray]]:
        start = 0
        for part, length in enumerate(self._lengths):
            local = None if rows is None else chosen_between(rows, start, start + length)
            if length and (local is None or len(local)):
                yield from self._read_part([self._parts[c][part] for c in columns], columns, local, length, batch)
            start += length

    def row_name(self, row: int) -> str:
        return f"row {row}"

    def _read_part(
        self, members: Sequence[Member], columns: Sequence[str], rows: np.ndarray | None, length: int, batch: int
    ) -> Iterator[dict[str, np.ndarray]]:
        step = max(1, min(batch, BATCH_BYTES // max(1, sum(member.row_bytes for member in members))))
        last = length if rows is None else int(rows[-1]) + 1
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(self._stream(member)) for member in members]
            for start in range(0, last, step):
                stop = min(start + step, length)
                blocks = [stream.rows(stop - start) for stream in streams]
                local = chosen_between(rows, start, stop)
                if len(local):
                    yield {c: self._as_read(c, block[local]) for c, block in zip(columns, blocks, strict=True)}

    def _as_read(self, name: str, block: np.ndarray) -> np.ndarray:
        try:
            return _as_text(block)
        except ValueError as err:
            raise DataUnreadable(self.text, f"array {name} holds what is no text ({err})", "Copy it again.") from err

    @contextlib.contextmanager
    def _stream(self, member: Member) -> Iterator["_RowStream"]:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(self._open(member.file))
            with self._as_damaged(member.file):
                read_header(file)
            if member.fortran:
                file = stack.enter_context(self._in_row_order(file, member))
            yield _RowStream(file, member, self.text)

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[BinaryIO]:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open_file(self.path))
            if not self.is_archive:
                yield file
                return
            archive = stack.enter_context(self._archive(file))
            with self._as_damaged(name):
                member = stack.enter_context(archive.open(name))
            yield member        # type: ignore[misc]

    def _archive(self, file: BinaryIO) -> zipfile.ZipFile:
        try:
            if not zipfile.is_zipfile(file):
                raise DataUnreadable(
                    self.path, "a truncated zip archive: its list of contents is missing", "Copy it again."
                )
            return zipfile.ZipFile(file)
        except _BROKEN as err:
            raise DataUnreadable(self.path, f"a damaged zip archive ({err})", "Copy it again.") from err

    @contextlib.contextmanager
    def _as_damaged(self, name: str) -> Iterator[None]:
        try:
            yield
        except _BROKEN as err:
            what = f"the array {name}" if name else "the array"
            raise DataUnreadable(self.path, f"{what} is damaged ({err})", "Copy it again.") from err

    @contextlib.contextmanager
    def _in_row_order(self, file: BinaryIO, member: Member) -> Iterator[BinaryIO]:
        """The same array, rows first, in a temporary file: an array stored columns first cannot be streamed in rows."""
        with tempfile.TemporaryFile() as spooled, tempfile.TemporaryFile() as turned:
            left = member.shape[0] * member.row_bytes
            while left:
                with self._as_damaged(member.file):         # and not the writing: a full disk is no damage
                    chunk = file.read(min(left, 1 << 20))
                    if not chunk:
                        raise EOFError(f"{left:,} bytes are missing")
                left -= spooled.write(chunk)
            spooled.flush()
            by_columns = np.memmap(spooled, dtype=member.dtype, mode="r", shape=member.shape, order="F")
            step = max(1, BATCH_BYTES // member.row_bytes)
            for start in range(0, member.shape[0], step):
                turned.write(np.ascontiguousarray(by_columns[start : start + step]).tobytes())
            turned.seek(0)
            yield turned

    def _alone(self) -> dict[str, Member]:
        with open_file(self.path) as file:
            member = self._member("", file, self.packed_bytes)
        return {} if member is None else {"x": member}

    def _archived(self) -> dict[str, Member]:
        with open_file(self.path) as file, self._archive(file) as archive:
            infos = archive.infolist()
            arrays = [i for i in infos if i.filename.endswith(".npy")]
            others = [i.filename for i in infos if not i.filename.endswith((".npy", "/"))]
            if not arrays:
                raise DataUnreadable(
                    self.path, f"a zip archive without arrays (it holds {_few(others) or 'nothing'})",
                    "Give an .npz as numpy.savez writes it.",
                )
            self._check_members(infos)
            if others:
                self.notes += (f"not arrays, unused: {_few(others)}",)
            found = {}
            for info in arrays:
                with self._as_damaged(info.filename), archive.open(info) as array:
                    member = self._member(info.filename, array, info.file_size)      # type: ignore[arg-type]
                if member is not None:
                    found[info.filename.removesuffix(".npy")] = member
            return found

    def _check_members(self, infos: Sequence[zipfile.ZipInfo]) -> None:
        """Refuse what zipfile would only tell on the way, or would take memory for without a bound."""
        names = Counter(info.filename for info in infos)
        if len(infos) > _MOST_MEMBERS:
            raise DataUnreadable(
                self.path, f"a zip archive of {len(infos):,} members", f"Give at most {_MOST_MEMBERS:,} arrays."
            )
        for info in infos:
            if names[info.filename] > 1:
                raise DataUnreadable(self.path, f"it holds {info.filename} twice", "Give each array a name of its own.")
            if reason := archives.why_not(info):
                remedy = "Give an .npz as numpy.savez or numpy.savez_compressed writes it."
                raise DataUnreadable(self.path, f"{info.filename} in it {reason}", remedy)
        declared.check_unpacked(self.path, sum(info.file_size for info in infos), self.packed_bytes)

    def _member(self, name: str, file: BinaryIO, size: int) -> Member | None:
        """The array that `file` holds in `size` bytes; None, and a note, for one of a kind that is not read."""
        label = name or self.path.name
        try:
            header = read_header(file)
        except ValueError as err:
            raise DataUnreadable(self.path, f"{label} has no valid array header ({err})", "Copy it again.") from err
        if header.dtype is None:
            self.notes += (f"array {label} has named fields: unused",)
            return None
        if header.dtype.hasobject:
            raise DataUnreadable(
                self.path, f"{label} holds Python objects, which only run as code",
                "Save it as a plain array of numbers: numpy.stack(list_of_arrays).",
            )
        needed = header.bytes + math.prod(header.shape) * header.dtype.itemsize
        if size < needed:
            raise DataUnreadable(
                self.path, f"{label} is truncated: {needed:,} bytes are announced and {size:,} are there",
                "Copy the file again.",
            )
        fortran = header.fortran and len(header.shape) > 1
        return Member(file=name, shape=header.shape, dtype=header.dtype, fortran=fortran)

    def _arranged(
        self, members: Mapping[str, Member]
    ) -> tuple[dict[str, list[Member]], dict[str, Column], dict[str, range]]:
        """Members by column and part; a part is a named split, or the whole file."""
        empty = [name for name, member in members.items() if member.shape and member.shape[0] and not member.row_bytes]
        for name in empty:                          # it could announce any number of rows
            self.notes += (f"array {name} of shape {list(members[name].shape)} holds no values: unused",)
        members = {name: member for name, member in members.items() if name not in empty}
        by_split: dict[str | None, dict[str, Member]] = {}
        for key, member in members.items():
            name, split = split_names.split_of_file(key)
            by_split.setdefault(split, {})[name if split else key] = member
        named = {s: m for s, m in by_split.items() if s is not None}
        columns = [set(m) for m in named.values()]
        if None in by_split or not columns or any(c != columns[0] for c in columns) or "" in columns[0]:
            by_split = {None: dict(members)}       # no consistent splits: every array is a column of its own
        order = sorted(by_split, key=split_names.in_order)
        rows = {split: self._rows_of(by_split[split]) for split in order}
        self._lengths = [rows[split] for split in order]
        parts: dict[str, list[Member]] = {}
        for name in by_split[order[0]]:
            pieces = [by_split[split][name] for split in order]
            if any(not p.shape for p in pieces) or [p.shape[0] for p in pieces] != self._lengths:
                self.notes += (f"array {name} has shape {list(pieces[0].shape)}, not one row a sample: unused",)
                continue
            if len({(p.shape[1:], p.dtype) for p in pieces}) > 1:
                self.notes += (f"array {name} differs in shape or dtype between the splits: unused",)
                continue
            parts[name] = pieces
        starts = np.concatenate(([0], np.cumsum(self._lengths))).tolist()
        splits = {s: range(starts[i], starts[i + 1]) for i, s in enumerate(order) if s is not None}
        return parts, {name: _column(name, pieces[0]) for name, pieces in parts.items()}, splits

    def _rows_of(self, members: Mapping[str, Member]) -> int:
        """The one number of rows, or an error that lists the different ones; small odd arrays are told in notes."""
        counts = {name: m.shape[0] for name, m in members.items() if m.shape}
        if not counts:
            raise DataUnreadable(
                self.path, "; ".join(["no array has rows", *self.notes]), "Give arrays of shape [N, ...]."
            )
        largest = max(members, key=lambda n: math.prod(members[n].shape) if members[n].shape else -1)
        rows = counts[largest]
        odd = {n: c for n, c in counts.items() if c != rows and _names_rows(n)}
        if odd:
            listed = ", ".join(f"{name} has {counts[name]:,}" for name in (largest, *odd))
            raise DataUnreadable(
                self.path, f"the arrays differ in rows: {listed}", "Each array needs one row a sample, in one order."
            )
        return rows


class _RowStream:
    """The next rows of one array; what a short file holds is told, never padded."""

    def __init__(self, file: BinaryIO, member: Member, source: str) -> None:
        self.file, self.member, self.source = file, member, source

    def rows(self, count: int) -> np.ndarray:
        block = np.empty((count, *self.member.shape[1:]), dtype=self.member.dtype)
        buffer = block.reshape(-1).view(np.uint8).data if block.size else memoryview(b"")
        name = self.member.file or "the array"
        done = 0
        try:
            while done < len(buffer):
                got = self.file.readinto(buffer[done:])      # type: ignore[attr-defined]
                if not got:
                    raise DataUnreadable(self.source, f"{name} ends early", "Copy it again.")
                done += got
        except _BROKEN as err:
            raise DataUnreadable(self.source, f"{name} is damaged ({err})", "Copy it again.") from err
        return block


def _column(name: str, member: Member) -> Column:
    if member.dtype.kind in "US" and len(member.shape) == 1 and member.dtype.itemsize:
        return Column(name=name, kind=Kind.TEXT)
    if member.dtype.kind in "biuf":
        return Column(name=name, kind=Kind.ARRAY, shape=member.shape[1:], dtype=member.dtype.name)
    return Column(name=name, kind=Kind.OTHER, dtype=str(member.dtype))


def _as_text(block: np.ndarray) -> np.ndarray:
    if block.dtype.kind == "S":
        return np.array([b.decode("utf-8", "replace") for b in block], dtype=object)
    if block.dtype.kind == "U":
        codes = np.ascontiguousarray(block).view(np.dtype(np.uint32).newbyteorder(block.dtype.byteorder))
        if ((codes > _LAST_CHARACTER) | ((codes >= _SURROGATES.start) & (codes < _SURROGATES.stop))).any():
            raise ValueError("a number that stands for no character")     # numpy would make a broken str of it
        return block.astype(object)
    return block if block.dtype.isnative else block.astype(block.dtype.newbyteorder("="))


def _names_rows(name: str) -> bool:
    """Whether an array of this name is meant to have one row a sample, rather than to list class names or means."""
    return name.lower() in INPUT_NAMES + LABEL_NAMES


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
