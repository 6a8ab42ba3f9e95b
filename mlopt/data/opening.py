"""From the text that a user typed to the reader that fits; what a file is, is told by its content."""

import stat
from collections.abc import Sequence
from pathlib import Path

from mlopt.data.images import looks_encoded
from mlopt.data.readers import folder, python
from mlopt.data.readers.npy_header import MAGIC
from mlopt.data.readers.npz import NpzSource
from mlopt.data.readers.tfrecord import TFRecordSource, looks_like_tfrecord
from mlopt.data.reading import as_unreadable, files_below, open_file
from mlopt.data.source import Source
from mlopt.errors import DataUnreadable

_KINDS = "an .npz, a .parquet, a TFRecord, a folder of images, or package.module:function"


def open_source(text: str | Path) -> Source:
    """Open what `text` names: a file, a folder, or a Python entry (which runs that function).

    Reads no more than headers, except for TFRecord files, whose record lengths are all read. Raises `DataUnreadable`.
    """
    try:
        path = Path(text).expanduser()
        with as_unreadable(path):
            there = _is_there(path)
    except (RuntimeError, ValueError) as err:       # the home of nobody; a zero inside a name
        raise DataUnreadable(str(text)[:60], f"it is no path ({err})", f"Give {_KINDS}.") from err
    if not there and python.is_entry(str(text)):
        return python.open_entry(str(text))
    if not there:
        raise DataUnreadable(path, "there is no such file or folder", f"Give {_KINDS}.")
    with as_unreadable(path):
        return _open_folder(str(text), path) if stat.S_ISDIR(path.stat().st_mode) else _open_file(path)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _open_file(path: Path) -> Source:
    with open_file(path) as file:
        head = file.read(16)
    if not head:
        raise DataUnreadable(path, "the file is empty", f"Give {_KINDS}.")
    if head.startswith((b"PK\3\4", b"PK\5\6", MAGIC)):
        return NpzSource(path)
    if head.startswith(b"PAR1"):
        from mlopt.data.readers.parquet import ParquetSource

        return ParquetSource(str(path), [path])
    if looks_like_tfrecord(head) or head.startswith(b"\x1f\x8b"):
        return TFRecordSource(str(path), [path])
    raise DataUnreadable(path, _what(head, path), f"Give {_KINDS}.")


def _what(head: bytes, path: Path) -> str:
    if looks_encoded(head):
        return "a single image"
    if head.startswith(b"\x89HDF"):
        return "an HDF5 file, as models are stored in"
    if path.suffix.lower().startswith(".tfrec"):
        return "not a TFRecord: its first record has a damaged length"
    if all(32 <= b < 127 or b in b"\t\r\n" for b in head):
        return f"a text file (it starts with {head.decode()!r})"
    return f"of an unknown kind (it starts with the bytes {head[:8].hex(' ')})"


def _open_folder(text: str, path: Path) -> Source:
    listing = files_below(path)
    files = listing.files
    images = [f for f in files if f.suffix.lower() in folder.SUFFIXES]
    parquet = [f for f in files if f.suffix.lower() in (".parquet", ".pq")]
    others = [f for f in files if f not in set(images) | set(parquet)]
    records = [] if images or parquet else [f for f in others if _is_record(path / f)]
    if not images and not parquet and not records:
        found = f"{len(files):,} files, none of them readable ({_few(files)})" if files else "no files"
        raise DataUnreadable(text, f"the folder holds {found}", f"Give {_KINDS}.")
    if images and parquet:
        raise DataUnreadable(
            text, f"the folder holds {len(images):,} images and {len(parquet):,} parquet files", "Name one kind."
        )
    unused = [f for f in others if f not in set(records)]
    source = _open_parts(text, path, images, parquet, records)
    if unused:
        source.notes += (f"{len(unused):,} other files in the folder, unused: {_few(unused)}",)
    if listing.links_to_folders:
        source.notes += (f"links to folders, not followed: {_few(listing.links_to_folders)}",)
    return source


def _open_parts(
    text: str, path: Path, images: Sequence[Path], parquet: Sequence[Path], records: Sequence[Path]
) -> Source:
    if images:
        return folder.ImageFolderSource(text, path, images)
    if parquet:
        from mlopt.data.readers.parquet import ParquetSource

        return ParquetSource(text, [path / f for f in parquet])
    return TFRecordSource(text, [path / f for f in records])


def _is_record(file: Path) -> bool:
    with open_file(file) as stream:
        head = stream.read(16)
    return looks_like_tfrecord(head) or (head.startswith(b"\x1f\x8b") and ".tfrec" in file.name)


def _few(names: Sequence[Path]) -> str:
    return ", ".join(n.as_posix() for n in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
