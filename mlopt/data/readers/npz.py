"""`.npz` and `.npy`: each array is streamed out of its archive, in rows, and never unpickled.

`x_train`, `y_train`, `x_test`, `y_test` in one file are the columns x and y with the splits train and test.
"""

import contextlib
import math
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from mlopt.data import splits as split_names
from mlopt.data.roles import INPUT_NAMES, LABEL_NAMES
from mlopt.data.source import Column, Kind, batch_rows, chosen_between
from mlopt.errors import DataUnreadable

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One array inside the archive."""

    file: str               # "" for a plain .npy
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool           # columns before rows: cannot be streamed in rows


class NpzSource:
    about = "npz"

    def __init__(self, path: Path) -> None:
        self.path, self.text = path, str(path)
        self.is_archive = zipfile.is_zipfile(path)
        self.about = "npz" if self.is_archive else "npy"
        self.notes: tuple[str, ...] = ()
        members = self._members()
        self._lengths: list[int] = []
        self.columns: Mapping[str, Column] = {}
        self.splits: Mapping[str, range] = {}
        self._parts, self.columns, self.splits = self._arranged(members)
        self.count = sum(self._lengths)

    def read(
        self, columns: Sequence[str], rows: np.ndarray | None = None, *, batch: int = 1024
    ) -> Iterator[dict[str, np.ndarray]]:
        start = 0
        for part, length in enumerate(self._lengths):
            local = None if rows is None else chosen_between(rows, start, start + length)
            if local is None or len(local):
                yield from self._read_part([self._parts[c][part] for c in columns], columns, local, length, batch)
            start += length

    def row_name(self, row: int) -> str:
        return f"row {row}"

    def _read_part(
        self, members: Sequence[Member], columns: Sequence[str], rows: np.ndarray | None, length: int, batch: int
    ) -> Iterator[dict[str, np.ndarray]]:
        step = batch_rows([self.columns[c] for c in columns], batch)
        last = length if rows is None else int(rows[-1]) + 1
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(self._stream(member)) for member in members]
            for start in range(0, last, step):
                stop = min(start + step, length)
                blocks = [stream.rows(stop - start) for stream in streams]
                local = chosen_between(rows, start, stop)
                if len(local):
                    yield {c: _as_text(block[local]) for c, block in zip(columns, blocks, strict=True)}

    @contextlib.contextmanager
    def _stream(self, member: Member) -> Iterator["_RowStream"]:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(self._open(member.file))
            _read_header(file)
            if member.fortran:
                file = stack.enter_context(_in_row_order(file, member))
            yield _RowStream(file, member, self.text)

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        if not self.is_archive:
            with self.path.open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(name) as file:
            yield file

    def _members(self) -> dict[str, Member]:
        if not self.is_archive:
            with self.path.open("rb") as file:
                return {"x": self._member("", file, self.path.stat().st_size)}
        with zipfile.ZipFile(self.path) as archive:
            arrays = [i for i in archive.infolist() if i.filename.endswith(".npy")]
            others = [i.filename for i in archive.infolist() if not i.filename.endswith(".npy") and not i.is_dir()]
            if not arrays:
                raise DataUnreadable(
                    self.path, f"a zip archive without arrays (it holds {_few(others) or 'nothing'})",
                    "Give an .npz as numpy.savez writes it.",
                )
            if others:
                self.notes += (f"not arrays, unused: {_few(others)}",)
            found = {}
            for info in arrays:
                try:
                    with archive.open(info) as file:
                        found[info.filename.removesuffix(".npy")] = self._member(info.filename, file, info.file_size)
                except _BROKEN as err:
                    raise DataUnreadable(self.path, f"the array {info.filename} is damaged ({err})") from err
            return found

    def _member(self, name: str, file: IO[bytes], size: int) -> Member:
        label = name or self.path.name
        try:
            shape, fortran, dtype, header = _read_header(file)
        except (ValueError, EOFError, TypeError, UnicodeDecodeError) as err:
            raise DataUnreadable(self.path, f"{label} has no valid array header ({err})") from err
        if dtype.hasobject:
            raise DataUnreadable(
                self.path, f"{label} holds Python objects, which only run as code",
                "Save it as a plain array of numbers: numpy.stack(list_of_arrays).",
            )
        needed = header + math.prod(shape) * dtype.itemsize
        if size < needed:
            raise DataUnreadable(
                self.path, f"{label} is truncated: {needed:,} bytes are announced and {size:,} are there",
                "Copy the file again.",
            )
        return Member(file=name, shape=shape, dtype=dtype, fortran=fortran and len(shape) > 1)

    def _arranged(
        self, members: Mapping[str, Member]
    ) -> tuple[dict[str, list[Member]], dict[str, Column], dict[str, range]]:
        """Members by column and part; a part is a named split, or the whole file."""
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
            raise DataUnreadable(self.path, "no array has rows", "Give arrays of shape [N, ...].")
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

    def __init__(self, file: IO[bytes], member: Member, source: str) -> None:
        self.file, self.member, self.source = file, member, source
        self.row_bytes = math.prod(member.shape[1:]) * member.dtype.itemsize

    def rows(self, count: int) -> np.ndarray:
        block = np.empty((count, *self.member.shape[1:]), dtype=self.member.dtype)
        buffer = block.reshape(-1).view(np.uint8).data if block.size else memoryview(b"")
        done = 0
        try:
            while done < len(buffer):
                got = self.file.readinto(buffer[done:])      # type: ignore[attr-defined]
                if not got:
                    raise DataUnreadable(self.source, f"{self.member.file or 'the array'} ends early", "Copy it again.")
                done += got
        except _BROKEN as err:
            raise DataUnreadable(self.source, f"{self.member.file} is damaged ({err})", "Copy it again.") from err
        return block


@contextlib.contextmanager
def _in_row_order(file: IO[bytes], member: Member) -> Iterator[IO[bytes]]:
    """The same array, rows first, in a temporary file: an array stored columns first cannot be streamed in rows."""
    with tempfile.TemporaryFile() as spooled, tempfile.TemporaryFile() as turned:
        while chunk := file.read(1 << 20):
            spooled.write(chunk)
        spooled.flush()
        by_columns = np.memmap(spooled, dtype=member.dtype, mode="r", shape=member.shape, order="F")
        step = batch_rows([_column("", member)], 1 << 16)
        for start in range(0, member.shape[0], step):
            turned.write(np.ascontiguousarray(by_columns[start : start + step]).tobytes())
        turned.seek(0)
        yield turned


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether columns come first, dtype, and the header's own length in bytes."""
    version = np.lib.format.read_magic(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)     # a header written by Python 2: read all the same
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"numpy format {version[0]}.{version[1]}, for arrays with named fields")
    return shape, fortran, dtype, file.tell()


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
        return block.astype(object)
    return block if block.dtype.isnative else block.astype(block.dtype.newbyteorder("="))


def _names_rows(name: str) -> bool:
    """Whether an array of this name is meant to have one row a sample, rather than to list class names or means."""
    return name.lower() in INPUT_NAMES + LABEL_NAMES


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
