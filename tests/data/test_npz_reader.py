"""What an `.npz` declares is held against its bytes; what is damaged in it is named."""

import io
import resource
import signal
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from damaged_archives import with_byte_of_directory

from mlopt.data.opening import open_source
from mlopt.data.readers.npz import NpzSource
from mlopt.errors import DataUnreadable

X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


def npy(array: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.save(packed, array)
    return packed.getvalue()


def npy_of(text: str, values: bytes = bytes(64)) -> bytes:
    """An array whose header says `text`."""
    header = text.encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def read_all(path: Path) -> dict[str, np.ndarray]:
    source = open_source(path)
    blocks = list(source.read(list(source.columns)))
    return {name: np.concatenate([block[name] for block in blocks]) for name in source.columns}


def zeros_in(path: Path, count: int, *, row: int = 1) -> Path:
    """`count` rows of `row` zero bytes each, deflated; a megabyte is packed once and repeated."""
    shape = (count, row) if row > 1 else (count,)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    whole, rest = divmod(count * row, 1 << 20)
    start, megabyte = (_deflated(piece, zlib.Z_FULL_FLUSH) for piece in (header.getvalue(), bytes(1 << 20)))
    with zipfile.ZipFile(path, "w") as made:
        with made.open("x.npy", "w", force_zip64=True) as member:
            member.write(start)
            for _ in range(whole):
                member.write(megabyte)
            member.write(_deflated(bytes(rest), zlib.Z_FINISH))
        info = made.getinfo("x.npy")
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, len(header.getvalue()) + count * row
    return path


def _deflated(content: bytes, flush: int) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush(flush)


def test_six_gibibytes_of_zeros_in_six_megabytes_are_refused_and_take_no_memory(tmp_path):
    path = zeros_in(tmp_path / "bomb.npz", 6, row=1 << 30)
    assert path.stat().st_size < 8 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataUnreadable, match=r"declares 6,442,451,\d{3} bytes of content in 6,\d{3},\d{3} bytes"):
        open_source(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10      # KiB


def test_members_that_share_their_bytes_are_counted_as_often_as_they_are_declared(tmp_path):
    """A directory that lists the same megabyte again and again: each entry is honest, their sum is not."""
    path = zeros_in(tmp_path / "one.npz", 100 << 20)
    packed = path.read_bytes()
    end = packed.rindex(b"PK\5\6")
    directory = packed[packed.rindex(b"PK\1\2") : end]
    entries = b"".join(directory.replace(b"x.npy", f"{i:05}".encode()) for i in range(9)) + directory
    local = packed[: packed.rindex(b"PK\1\2")]
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 10, 10, len(entries), len(local), 0)
    path.write_bytes(local + entries + tail)
    with pytest.raises(DataUnreadable, match=r"declares 1,048,[\d,]+ bytes of content"):
        open_source(path)


def test_a_large_file_of_real_bytes_is_read(tmp_path):
    large = np.frombuffer(np.random.default_rng(0).bytes(300 << 20), np.uint8).reshape(300, 1 << 20)
    np.savez(tmp_path / "large.npz", x=large)
    source = open_source(tmp_path / "large.npz")
    last = next(source.read(["x"], np.array([299])))["x"]
    np.testing.assert_array_equal(last[0], large[299])


def test_zeros_that_pack_well_are_read_up_to_a_quarter_gibibyte(tmp_path):
    assert open_source(zeros_in(tmp_path / "zeros.npz", 200, row=1 << 20)).count == 200


@pytest.mark.parametrize("rows", [1_000_000, 1_000_001])
def test_more_than_a_million_rows_need_a_byte_each(tmp_path, rows):
    path = zeros_in(tmp_path / "rows.npz", rows)
    if rows <= 1_000_000:
        assert open_source(path).count == rows
    else:
        with pytest.raises(DataUnreadable, match=r"declares 1,000,001 rows in 1,\d\d\d bytes"):
            open_source(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_zipfile_unpacks_without_a_bound_is_refused(tmp_path, method):
    path = archive(tmp_path / "a.npz", {"x.npy": npy(X)}, method)
    with pytest.raises(DataUnreadable, match=rf"x.npy in it is packed by method {method} of zip"):
        open_source(path)


def test_an_unknown_method_and_a_password_are_told(tmp_path):
    path = archive(tmp_path / "a.npz", {"x.npy": npy(X)})
    content = path.read_bytes()
    path.write_bytes(with_byte_of_directory(content, 10, 77))
    with pytest.raises(DataUnreadable, match="method 77 of zip"):
        open_source(path)
    path.write_bytes(with_byte_of_directory(content, 8, 1))
    with pytest.raises(DataUnreadable, match=r"x.npy in it is encrypted. Give an .npz"):
        open_source(path)


def test_a_member_without_a_name_is_one_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as made:
        made.writestr("x.npy", npy(X))
        made.writestr("y", b"")
        made.getinfo("y").filename = made.getinfo("y").orig_filename = ""
    source = open_source(tmp_path / "a.npz")
    assert set(source.columns) == {"x"} and source.notes == ("not arrays, unused: ",)


def test_two_members_of_one_name_are_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as made:
            made.writestr("x.npy", npy(X))
            made.writestr("x.npy", npy(X + 1))
    with pytest.raises(DataUnreadable, match=r"holds x.npy twice"):
        open_source(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3", "is not understood"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), } '''", "is not understood"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4), }", "'-3', which is no size"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3), }", "no tuple"),
        ("{'descr': '<f4', 'fortran_order': 1, 'shape': (3,), }", "not understood"),
        ("{'descr': '<f4', 'fortran_order': 'yes', 'shape': (3,), }", "neither True nor False"),
        ("{'descr': '<f3', 'fortran_order': False, 'shape': (3,), }", "names no type"),
        ("{'descr': 'f4,f4', 'fortran_order': False, 'shape': (3,), }", "names no type of numbers"),
        ("{'descr': '<f4', 'shape': (3,), }", "and not descr, fortran_order and shape"),
        ("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", "descr stands twice"),
        ("{'descr': __import__('os').system('id'), 'fortran_order': False, 'shape': (3,), }", "is not understood"),
        ("[" * 5000, "is no dict"),
        ("{" * 5000, "is not understood"),
        (f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'1,' * 99}), }}", "at most 32 sizes"),
        ("", "is no dict"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_header_that_is_none_is_refused_with_what_stands_there(tmp_path, text, said, packed):
    if packed:
        path = archive(tmp_path / "a.npz", {"x.npy": npy_of(text)})
    else:
        path = tmp_path / "a.npy"
        path.write_bytes(npy_of(text))
    with pytest.raises(DataUnreadable, match=f"has no valid array header .*{said}"):
        open_source(path)


def test_a_header_longer_than_numpy_takes_is_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFFF) + bytes(64))
    with pytest.raises(DataUnreadable, match="of 4,294,967,295 characters"):
        open_source(tmp_path / "a.npy")


def test_an_array_with_named_fields_is_left_out_and_told_and_alone_it_is_refused(tmp_path):
    fields = np.zeros(40, [("a", "<f4"), ("b", "<i4")])
    np.savez(tmp_path / "a.npz", x=X, facts=fields)
    source = open_source(tmp_path / "a.npz")
    assert set(source.columns) == {"x"} and source.notes == ("array facts.npy has named fields: unused",)
    np.save(tmp_path / "b.npy", fields)
    with pytest.raises(DataUnreadable, match=r"no plain array; array b.npy has named fields"):
        open_source(tmp_path / "b.npy")


@pytest.mark.parametrize("shape", [(10**18, 0), (10**18, 3, 0)])
def test_rows_without_values_are_not_counted(tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    path = archive(tmp_path / "a.npz", {"x.npy": npy(X), "empty.npy": npy_of(header, b"")})
    source = open_source(path)
    assert source.count == 40 and "holds no values: unused" in source.notes[0]
    path = archive(tmp_path / "b.npz", {"empty.npy": npy_of(header, b"")})
    with pytest.raises(DataUnreadable, match=r"no array has rows; array empty of shape .* holds no values"):
        open_source(path)


@pytest.mark.parametrize("rows", [None, np.array([3, 17])])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_array_with_columns_first_is_read_as_numpy_reads_it(tmp_path, save, rows):
    save(tmp_path / "a.npz", x=np.asfortranarray(X))
    got = np.concatenate([block["x"] for block in open_source(tmp_path / "a.npz").read(["x"], rows)])
    np.testing.assert_array_equal(got, X if rows is None else X[rows])


@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray])
def test_a_member_that_is_damaged_is_named_whatever_its_order(tmp_path, order):
    noise = np.random.default_rng(0).integers(0, 255, (500, 20), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", x=order(noise))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[3000:3010] = b"\xff" * 10
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataUnreadable, match=r"x.npy is damaged"):
        read_all(tmp_path / "a.npz")


def test_bytes_that_are_no_characters_are_told(tmp_path):
    words = np.array(["ab", "cd"])
    raw = bytearray(npy(words))
    raw[-4:] = struct.pack("<I", 0x7FFFFFFF)
    path = archive(tmp_path / "a.npz", {"x.npy": npy(X[:2]), "device.npy": bytes(raw)})
    with pytest.raises(DataUnreadable, match="array device holds what is no text"):
        read_all(path)
    raw[-4:] = struct.pack("<I", 0xD800)            # half of a character
    archive(path, {"x.npy": npy(X[:2]), "device.npy": bytes(raw)})
    with pytest.raises(DataUnreadable, match="array device holds what is no text"):
        read_all(path)


def test_long_text_is_read_in_batches_of_bounded_size(tmp_path):
    words = np.full(40, "w" * 1_000_000)
    path = archive(tmp_path / "a.npz", {"x.npy": npy(X), "story.npy": npy(words)}, zipfile.ZIP_STORED)
    sizes = [len(block["story"]) for block in open_source(path).read(["story"])]
    assert sizes == [4] * 10                        # of 4,000,000 bytes each, at most 16 MiB at once


def test_one_row_larger_than_any_sample_is_refused(tmp_path):
    size = (1 << 30) + 8
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (1, size)})
        file.truncate(file.tell() + size)           # sparse: the bytes are there, and cost nothing
    with pytest.raises(DataUnreadable, match=r"one row of x takes 1,073,741,832 bytes"):
        NpzSource(tmp_path / "a.npy")


def test_a_full_disk_is_not_called_damage_of_the_data(tmp_path):
    """An array with columns first is turned in the temporary folder, which has room for none of it."""
    np.savez(tmp_path / "a.npz", x=np.asfortranarray(np.zeros((1000, 100))))
    source = open_source(tmp_path / "a.npz")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal_before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            next(source.read(["x"]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, signal_before)


def test_a_split_without_rows_is_passed_over_whatever_its_order(tmp_path):
    empty = npy_of("{'descr': '<f4', 'fortran_order': True, 'shape': (0, 6), }", b"")
    path = archive(tmp_path / "a.npz", {"x_train.npy": empty, "x_test.npy": npy(X)})
    np.testing.assert_array_equal(read_all(path)["x"], X)
