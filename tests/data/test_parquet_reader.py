"""What a `.parquet` file declares is held against its bytes; what cannot be read in it is named."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mlopt.data.dataset import Dataset
from mlopt.data.opening import open_source
from mlopt.errors import DataUnreadable
from mlopt.model import Signature, TensorSpec


def written(path: Path, table: pa.Table, **options) -> Path:
    pq.write_table(table, path, **options)
    return path


def read_all(path: Path) -> dict[str, np.ndarray]:
    source = open_source(path)
    blocks = list(source.read(list(source.columns)))
    return {name: np.concatenate([block[name] for block in blocks]) for name in source.columns}


def varint(value: int) -> bytes:
    """As thrift's compact protocol writes whole numbers: zigzag, seven bits a byte."""
    value <<= 1
    packed = bytearray()
    while value >= 0x80:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*packed, value])


def with_footer(path: Path, old: bytes, new: bytes) -> Path:
    """The file, with `old` in its footer replaced everywhere."""
    content = path.read_bytes()
    length = struct.unpack("<I", content[-8:-4])[0]
    footer = content[-8 - length : -8]
    assert old in footer
    footer = footer.replace(old, new)
    path.write_bytes(content[: -8 - length] + footer + struct.pack("<I", len(footer)) + b"PAR1")
    return path


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = written(tmp_path / "a.parquet", pa.table([pa.array([1.0]), pa.array([2.0])], names=["x", "x"]))
    with pytest.raises(DataUnreadable, match=r"two columns are named x. Give each"):
        open_source(path)


@pytest.mark.parametrize("rows", [2**40, 2**62])
def test_rows_that_the_file_cannot_hold_are_refused_before_memory_is_taken(tmp_path, rows):
    path = written(tmp_path / "a.parquet", pa.table({"x": np.arange(12345)}), store_schema=False)
    # num_rows stands in the footer and in its one row group; num_values, of the same number, in the column chunk
    with_footer(path, varint(12345), varint(rows))
    with pytest.raises(DataUnreadable, match=f"declares {rows:,} rows"):
        open_source(path)


def test_a_row_group_that_ends_early_is_told(tmp_path):
    path = written(tmp_path / "a.parquet", pa.table({"x": np.arange(12345)}), store_schema=False)
    with_footer(path, varint(12345), varint(12346))
    with pytest.raises(DataUnreadable, match=r"row group 0"):
        read_all(path)


def test_content_that_the_file_cannot_hold_is_refused(tmp_path):
    path = written(tmp_path / "a.parquet", pa.table({"x": np.zeros(1000)}), compression="zstd", store_schema=False)
    size = pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size
    assert size > 64
    with_footer(path, varint(size), varint(1 << 40))
    with pytest.raises(DataUnreadable, match=r"declares 1,099,511,627,776 bytes of content"):
        open_source(path)


def test_one_row_of_more_values_than_the_file_can_hold_is_refused(tmp_path):
    """A list of equal values packs to nothing, and may be terabytes when it is unpacked."""
    values = pa.array(np.zeros(12345, np.uint8))
    table = pa.table({"x": pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)})
    path = written(tmp_path / "a.parquet", table, store_schema=False)
    assert path.stat().st_size < 1000
    with_footer(path, varint(12345), varint(1 << 40))
    with pytest.raises(DataUnreadable, match=r"1,099,511,627,776 bytes of content in [\d,]+ bytes of file"):
        open_source(path)


def test_a_damaged_page_names_its_row_group(tmp_path):
    noise = np.random.default_rng(0).normal(size=5000)
    path = written(tmp_path / "a.parquet", pa.table({"x": noise}), write_page_checksum=True, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[9000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataUnreadable, match=r"row group 0 is damaged \(.*CRC"):
        read_all(path)


def test_nested_columns_that_are_no_arrays_are_left_alone_and_the_rest_is_read(tmp_path):
    path = written(tmp_path / "a.parquet", pa.table({
        "x": [[1.0, 2.0], [3.0, 4.0]],
        "struct": [{"a": 1, "b": {"c": 2}}, {"a": 3, "b": {"c": 4}}],
        "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        "decimal": pa.array([1, 2], pa.decimal128(5, 2)),
        "a.dotted.name": [7, 8],
    }))
    source = open_source(path)
    kinds = {name: column.kind.value for name, column in source.columns.items()}
    assert kinds == {"x": "array", "struct": "other", "map": "other", "decimal": "other", "a.dotted.name": "array"}
    block = next(source.read(["x", "a.dotted.name"]))
    assert block["x"].tolist() == [[1.0, 2.0], [3.0, 4.0]] and block["a.dotted.name"].tolist() == [7, 8]


def test_numbers_and_words_of_a_dictionary_are_decoded(tmp_path):
    path = written(tmp_path / "a.parquet", pa.table({
        "x": pa.array([5, 7, 5]).dictionary_encode(), "device": pa.array(["a", "b", "a"]).dictionary_encode(),
    }))
    found = read_all(path)
    assert found["x"].tolist() == [5, 7, 5] and found["device"].tolist() == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pa.array([[1.0, None], [2.0, 3.0]]), "inside its lists"),
        (pa.array([[[1.0], None], [[2.0], [3.0]]]), "inside its lists"),
        (pa.array([[1.0, 2.0], None], pa.list_(pa.float64(), 2)), "row group 0 is damaged .*size"),
        (pa.array(["a", None]), r"empty \(null\) in row 1"),
        (pa.array([{"bytes": b"a"}, None]), r"empty \(null\) in row 1"),
        (pa.array([{"bytes": b"a"}, {"bytes": None}]), r"empty \(null\) in row 1"),
        (pa.array([[[1.0], [2.0, 3.0]], [[2.0], [3.0]]]), "nesting level 2"),
    ],
)
def test_what_is_missing_anywhere_is_told(tmp_path, values, said):
    path = written(tmp_path / "a.parquet", pa.table({"y": values}))
    with pytest.raises(DataUnreadable, match=said):
        read_all(path)


def test_a_list_column_whose_first_row_is_missing_has_no_shape(tmp_path):
    path = written(tmp_path / "a.parquet", pa.table({"y": [None, [1.0, 2.0]]}))
    assert "first row empty" in open_source(path).columns["y"].dtype


def test_words_that_are_not_utf8_are_told(tmp_path):
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(struct.pack("<3i", 0, 2, 4)), pa.py_buffer(b"ok\xff\xfe"))
    path = written(tmp_path / "a.parquet", pa.table({"x": [1.0, 2.0], "device": broken}))
    with pytest.raises(DataUnreadable, match=r"row group 0 is damaged \(.*utf-8"):
        read_all(path)


@pytest.mark.parametrize("features", ["[" * 100_000, '{"label": {"_type": "ClassLabel", "names": ["\\ud800"]}}'])
def test_class_names_that_are_damaged_are_left_out(tmp_path, features):
    meta = {"huggingface": f'{{"info": {{"features": {features}}}}}'}
    table = pa.table({"x": [[1.0]], "label": [0]}).replace_schema_metadata(meta)
    assert open_source(written(tmp_path / "a.parquet", table)).columns["label"].names == ()


IMAGES = Signature(
    inputs=(TensorSpec(name="image", shape=(None, 4, 4, 3), dtype="float32", layout="NHWC"),),
    outputs=(TensorSpec(name="y", shape=(None, 2), dtype="float32", layout="NC"),),
)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0junk", b"GIF89a", b"BM" + bytes(60)])
def test_bytes_of_a_picture_that_are_none_name_their_row(tmp_path, content):
    good = io.BytesIO()
    Image.new("RGB", (4, 4)).save(good, "PNG")
    path = written(tmp_path / "a.parquet", pa.table({"image": [good.getvalue(), content]}))
    data = Dataset.open(path, IMAGES)
    with pytest.raises(DataUnreadable, match=r"row 1 (holds no image|cannot be decoded)"):
        list(data.batches(np.arange(2)))


def test_class_names_of_another_writer_are_ignored(tmp_path):
    table = pa.table({"x": [[1.0]], "label": [0]}).replace_schema_metadata({"huggingface": json.dumps([1, 2])})
    assert open_source(written(tmp_path / "a.parquet", table)).columns["label"].names == ()


def test_a_column_whose_name_in_a_row_group_is_not_utf8_is_told(tmp_path):
    path = written(tmp_path / "a.parquet", pa.table({"x": [[1.0]], "quince": [0]}), store_schema=False)
    name = path.read_bytes().rindex(b"quince")             # the schema names it first, the row group's chunk after that
    content = bytearray(path.read_bytes())
    content[name + 2] = 0xFF
    path.write_bytes(content)
    with pytest.raises(DataUnreadable, match=r"row group 0 is damaged \(.*utf-8"):
        read_all(path)
