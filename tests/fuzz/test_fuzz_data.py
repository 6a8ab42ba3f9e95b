"""Damaged data files, read as a run reads them: each is read or refused, in bounded time and memory, leaving nothing.

Checksums would stop most damage at the door of a format, so it is also done inside, and the container made anew.
"""

import functools
import gzip
import io
import itertools
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mutations import mutations
from PIL import Image
from reading_process import ReadingProcess
from tfrecords import example, framed

ROWS = 16
random = np.random.default_rng(3)
PIXELS = random.integers(0, 256, (ROWS, 4, 4, 3), dtype=np.uint8)
VALUES = random.normal(size=(ROWS, 4, 4, 3)).astype(np.float32)
LABELS = np.arange(ROWS) % 3
DEVICES = ["phone", "tablet"] * (ROWS // 2)
MOST_BYTES = 1 << 30        # resident in the reading process; its libraries take a fifth of it

Wrap = Callable[[bytes], bytes]


def npy(array: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.save(packed, array)
    return packed.getvalue()


def npz(save: Callable[..., None], **arrays: np.ndarray) -> bytes:
    packed = io.BytesIO()
    save(packed, **arrays)
    return packed.getvalue()


def archived(member: bytes, *, name: str, method: int) -> bytes:
    """An archive whose checksums are right, around one damaged array."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr(name, member)
        for other, array in {"x.npy": VALUES, "label.npy": LABELS, "device.npy": np.array(DEVICES)}.items():
            if other != name:
                archive.writestr(other, npy(array))
    return packed.getvalue()


def parquet(table: pa.Table, **options: object) -> bytes:
    packed = io.BytesIO()
    pq.write_table(table, packed, **options)
    return packed.getvalue()


def picture(row: int, form: str, **options: object) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(PIXELS[row]).save(packed, form, **options)
    return packed.getvalue()


def same(content: bytes) -> bytes:
    return content


ARRAYS = {"x": VALUES, "label": LABELS, "device": np.array(DEVICES)}
EXAMPLES = [
    example({"x": VALUES[row].ravel().tolist(), "label": [int(LABELS[row])], "device": [DEVICES[row].encode()]})
    for row in range(ROWS)
]
WITH_PICTURES = [
    example({"image": [picture(row, "PNG")], "label": [int(LABELS[row])]}) for row in range(ROWS)
]


def records(examples: list[bytes]) -> bytes:
    return b"".join(framed(one) for one in examples)


def among(first: bytes, others: list[bytes], pack: Wrap) -> bytes:
    """Records whose checksums are right, the damaged one first: it decides what is expected of the rest."""
    return pack(records([first, *others]))


def rows_as(kind: str) -> pa.Table:
    columns = {"x": VALUES.tolist(), "label": LABELS, "device": DEVICES}
    if kind == "pictures":
        columns["x"] = [{"bytes": picture(row, "PNG"), "path": f"{row}.png"} for row in range(ROWS)]
    elif kind == "dictionaries":
        columns["device"] = pa.array(DEVICES).dictionary_encode()
        columns["label"] = pa.array(LABELS).dictionary_encode()
    elif kind == "tensors":
        flat = pa.FixedSizeListArray.from_arrays(pa.array(VALUES.ravel()), 48)
        columns["x"] = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), (4, 4, 3)), flat)
    return pa.table(columns)


def parts_of(table: bytes) -> tuple[bytes, bytes]:
    """Pages and footer of a parquet file, without the marks around them."""
    length = int.from_bytes(table[-8:-4], "little")
    return table[4 : -8 - length], table[-8 - length : -8]


def with_pages(pages: bytes, *, table: bytes) -> bytes:
    """The table with damaged pages; its footer says where each begins, so that they keep their place."""
    whole, footer = parts_of(table)
    return b"PAR1" + pages[: len(whole)].ljust(len(whole), b"\0") + table[-8 - len(footer) :]


def with_footer(footer: bytes, *, table: bytes) -> bytes:
    return b"PAR1" + parts_of(table)[0] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


TABLES = [
    parquet(rows_as("lists")),
    parquet(rows_as("lists"), compression="none", use_dictionary=False, row_group_size=5),
    parquet(rows_as("pictures"), compression="zstd"),
    parquet(rows_as("dictionaries"), compression="gzip", data_page_version="2.0"),
    parquet(rows_as("tensors"), write_page_checksum=True),
]

# Each format's originals: the bytes that are damaged, and what is made of them afterwards.
ORIGINALS: dict[str, list[tuple[bytes, Wrap]]] = {
    "npz": [
        (npz(np.savez, **ARRAYS), same),
        (npz(np.savez_compressed, **ARRAYS | {"x": np.asfortranarray(VALUES)}), same),
        (npy(VALUES), same),
        *((npy(array), functools.partial(archived, name=f"{name}.npy", method=method))
          for name, array in ARRAYS.items() for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)),
    ],
    "parquet": [
        *((table, same) for table in TABLES),
        *((parts_of(table)[0], functools.partial(with_pages, table=table)) for table in TABLES),
        *((parts_of(table)[1], functools.partial(with_footer, table=table)) for table in TABLES),
    ],
    "tfrecord": [
        (records(EXAMPLES), same),
        (gzip.compress(records(EXAMPLES)), same),
        (records(EXAMPLES), gzip.compress),
        (EXAMPLES[0], functools.partial(among, others=EXAMPLES[1:], pack=same)),
        (EXAMPLES[0], functools.partial(among, others=EXAMPLES[1:], pack=gzip.compress)),
        (WITH_PICTURES[0], functools.partial(among, others=WITH_PICTURES[1:], pack=same)),
    ],
    "folder": [
        *((picture(0, form), same) for form in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")),
        (picture(0, "TIFF", compression="tiff_lzw"), same),
        (picture(0, "TIFF", compression="jpeg"), same),
        (picture(0, "JPEG", exif=Image.Exif().tobytes(), progressive=True), same),
    ],
}


def damaged(format: str, count: int) -> Iterator[bytes]:
    """`count` damaged files, of each original as many."""
    originals = ORIGINALS[format]
    shares = [
        map(wrap, mutations(original, -(-count // len(originals)), seed=index))
        for index, (original, wrap) in enumerate(originals)
    ]
    rounds = (content for round in zip(*shares, strict=True) for content in round)
    return itertools.islice(rounds, count)


def source_of(format: str, content: bytes, place: Path) -> Path:
    """Where the source is that `content` is the damaged part of."""
    if format != "folder":
        (place / "data").write_bytes(content)
        return place / "data"
    for row in range(1, ROWS):
        file = place / f"folder/class{LABELS[row]}" / f"{row:02}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(row, "PNG"))
    (place / "folder/class0/00.png").write_bytes(content)
    return place / "folder"


@pytest.fixture
def reading() -> Iterator[ReadingProcess]:
    process = ReadingProcess()
    yield process
    process.close()


@pytest.mark.parametrize("format", ORIGINALS)
def test_a_damaged_file_is_read_or_refused_and_leaves_nothing_half_written(format, fuzz_mutations, reading, tmp_path):
    entries = tmp_path / "entries"
    entries.mkdir()
    ended = {"read": 0, "refused": 0}
    for index, content in enumerate(damaged(format, fuzz_mutations)):
        found = reading.read(source_of(format, content, tmp_path), entries / str(index))
        kept = keep_if_wrong(found, content, tmp_path)
        assert found["ended"] in ended, f"mutation {index} {found['ended']}, kept in {kept}:\n{found['said']}"
        ended[found["ended"]] += 1
        assert found["peak_bytes"] < MOST_BYTES, f"mutation {index} took {found['peak_bytes']:,} bytes, kept in {kept}"
        left = [entry.name for entry in entries.iterdir()]
        assert left == ([str(index)] if found["ended"] == "read" else []), f"mutation {index} left {left}"
        for entry in entries.iterdir():
            shutil.rmtree(entry)
    print(f"{format}: {ended['read']:,} read, {ended['refused']:,} refused")
    assert ended["refused"] > fuzz_mutations // 10, "the damage does not reach what is read"


def keep_if_wrong(found, content: bytes, place: Path) -> Path | None:
    if found["ended"] in ("read", "refused") and found["peak_bytes"] < MOST_BYTES:
        return None
    (place / "culprit").write_bytes(content)
    return place / "culprit"


@pytest.mark.parametrize("format", ORIGINALS)
def test_what_is_damaged_was_whole_before(format, reading, tmp_path):
    for index, (original, wrap) in enumerate(ORIGINALS[format]):
        found = reading.read(source_of(format, wrap(original), tmp_path), tmp_path / f"entry-{index}")
        assert found["ended"] == "read", found["said"]


def test_a_reading_process_that_dies_is_told_and_the_next_file_is_read(reading, tmp_path):
    source = source_of("npz", npz(np.savez, **ARRAYS), tmp_path)
    assert reading.read(source, tmp_path / "one")["ended"] == "read"
    reading._process.kill()
    reading._process.wait()
    assert reading.read(source, tmp_path / "two")["ended"] == "died"
    assert reading.read(source, tmp_path / "three")["ended"] == "read"
