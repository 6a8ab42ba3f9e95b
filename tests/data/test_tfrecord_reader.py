"""TFRecord and tf.train.Example read as TensorFlow wrote them."""

import gzip
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tfrecords import example_with, field, framed, varint

from mlopt.data.opening import open_source
from mlopt.data.readers.crc32c import crc32c, masked
from mlopt.data.readers.example import NotProtobuf, parse_example, parse_tensor
from mlopt.data.readers.tfrecord import TFRecordSource
from mlopt.errors import DataUnreadable

int64s = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=32, allow_nan=False)
features = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.one_of(
        st.lists(st.binary(max_size=40), min_size=1, max_size=3), st.lists(floats, min_size=1, max_size=6),
        st.lists(int64s, min_size=1, max_size=6),
    ),
    max_size=4,
)


def feature_of(value: list) -> tf.train.Feature:
    if isinstance(value[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
    if isinstance(value[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=value))


def example_of(content: dict) -> bytes:
    feature = {name: feature_of(value) for name, value in content.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


@given(features)
def test_an_example_is_read_as_tensorflow_wrote_it(content):
    found = parse_example(example_of(content))
    assert found.keys() == content.keys()
    for name, value in content.items():
        assert list(found[name]) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused_and_never_crash(data):
    parse_tensor(data)
    try:
        parse_example(data)
    except NotProtobuf:
        pass
    else:
        tf.train.Example.FromString(data)       # what we take, protobuf takes


def test_unpacked_numbers_are_read_too():
    unpacked_int = b"\x1a\x04" + b"\x08\x05\x08\x07"                 # int64_list { value: 5 value: 7 }, tags repeated
    unpacked_float = b"\x12\x05" + b"\x0d" + np.float32(1.5).tobytes()
    for name, wire, expected in (("a", unpacked_int, [5, 7]), ("b", unpacked_float, [1.5])):
        entry = b"\x0a\x01" + name.encode() + b"\x12" + bytes([len(wire)]) + wire
        record = b"\x0a" + bytes([len(entry) + 2]) + b"\x0a" + bytes([len(entry)]) + entry
        assert list(parse_example(record)[name]) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int8", "int16", "uint16", "int32", "int64",
                                   "float16", "bool", "uint32", "uint64"])
def test_a_serialized_tensor_is_read_with_its_shape_and_dtype(dtype):
    values = (np.arange(12).reshape(3, 4) % 5).astype(dtype)
    found = parse_tensor(tf.io.serialize_tensor(values).numpy())
    assert found is not None and found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=700), min_size=1, max_size=8))
def test_records_come_back_in_order_whatever_their_size(payloads):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for payload in payloads:
                writer.write(example_of({"raw": [b"\x00" + payload]}))
        source = open_source(path)
        rows = [value for block in source.read(["raw"]) for value in block["raw"]]
        assert rows == [b"\x00" + payload for payload in payloads]


def test_the_checksum_is_that_of_the_standard():
    """Examples of RFC 3720, appendix B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"") == 0


def write(path: Path, contents: list[dict]) -> Path:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            writer.write(example_of(content))
    return path


def test_a_changed_byte_is_found_by_the_checksum(tmp_path):
    path = write(tmp_path / "a.tfrecord", [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}])
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    source = open_source(path)
    with pytest.raises(DataUnreadable, match="record 1 does not match its checksum"):
        list(source.read(["x"]))
    assert [b["x"].tolist() for b in source.read(["x"], np.array([0]))] == [[[1.0, 2.0]]]


def test_a_damaged_length_is_found_when_the_file_is_opened(tmp_path):
    path = write(tmp_path / "a.tfrecord", [{"x": [1.0]}, {"x": [2.0]}])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(DataUnreadable, match="record 1 has a damaged length"):
        open_source(path)


def test_a_record_unlike_the_first_is_named(tmp_path):
    for second, said in (({"x": [1.0]}, "feature x in record 1 is not like the first"), ({"z": [1]}, "record 1 lacks")):
        path = write(tmp_path / "a.tfrecord", [{"x": [1.0, 2.0]}, second])
        with pytest.raises(DataUnreadable, match=said):
            list(open_source(path).read(["x"]))


def test_records_of_another_message_are_refused(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(b"plain text, not a message")
    with pytest.raises(DataUnreadable, match=r"record 0 is not a tf.train.Example"):
        open_source(tmp_path / "a.tfrecord")


@pytest.mark.parametrize(
    "feature",
    [
        field(1, 2, field(1, 0, b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f")),     # bytes_list { value: a number }
        field(1, 2, field(1, 5, bytes(4))),
        field(2, 2, field(1, 0, b"\x05")),
        field(2, 2, field(1, 2, bytes(7))),                                         # floats that end inside one
        field(3, 2, field(1, 1, bytes(8))),
        field(3, 2, field(1, 5, bytes(4))),
        field(3, 2, field(2, 0, b"\x05")),                                          # no field of a list
        field(3, 2, field(1, 2, b"\x80" * 20)),                                     # a number without an end
    ],
)
def test_values_of_another_type_than_their_list_has_are_refused_and_nothing_is_allocated_for_them(feature):
    with pytest.raises(NotProtobuf):
        parse_example(example_with(feature))


def test_packed_numbers_are_the_same_whatever_pieces_they_are_worked_on_in():
    values = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 400_000)         # ten bytes each: several pieces
    values[::3] = np.arange(len(values[::3]))
    record = example_of({"x": values.tolist()})
    assert len(record) > 2 << 20
    np.testing.assert_array_equal(parse_example(record)["x"], values)


def test_a_record_of_more_features_than_any_sample_has_is_refused():
    feature = field(3, 2, field(1, 0, b"\x01"))
    features = b"".join(field(1, 2, field(1, 2, b"%d" % i) + field(2, 2, feature)) for i in range(10_001))
    with pytest.raises(NotProtobuf, match="more than 10,000 features"):
        parse_example(field(1, 2, features))


@pytest.mark.parametrize("shape", [(0,), (2**40, 0), (1,) * 40])
def test_a_tensor_of_no_values_or_too_many_axes_is_no_tensor(shape):
    dimensions = b"".join(field(2, 2, b"\x08" + varint(size)) for size in shape)
    content = bytes(4 if 0 not in shape else 0)
    assert parse_tensor(b"\x08\x01" + field(2, 2, dimensions) + field(4, 2, content)) is None


def test_messages_nested_a_hundred_thousand_deep_are_refused(tmp_path):
    deep, size = [b"\x0a\x00"], 2
    for _ in range(100_000):
        deep.append(b"\x0a" + varint(size))
        size += len(deep[-1])
    deep = b"".join(reversed(deep))
    (tmp_path / "a.tfrecord").write_bytes(framed(deep))
    with pytest.raises(DataUnreadable, match="its first record has no features"):
        open_source(tmp_path / "a.tfrecord")


@pytest.mark.parametrize("length", [2**30, 2**62, 2**64 - 1])
def test_a_length_that_the_file_does_not_have_is_refused_though_its_checksum_is_right(tmp_path, length):
    start = struct.pack("<Q", length)
    good = framed(example_of({"x": [1.0]}))
    (tmp_path / "a.tfrecord").write_bytes(good + start + struct.pack("<I", masked(crc32c(start))) + bytes(64))
    with pytest.raises(DataUnreadable, match=r"cut off inside record 1|record 1 has a damaged length"):
        open_source(tmp_path / "a.tfrecord")


@pytest.mark.parametrize("kept", ["the length of the second", "half of the second"])
def test_a_gzip_file_whose_content_ends_early_is_refused(tmp_path, kept):
    good = framed(example_of({"x": [1.0] * 50}))
    cut = good[:12] if kept == "the length of the second" else good[: len(good) // 2]
    (tmp_path / "a.tfrecord.gz").write_bytes(gzip.compress(good + cut))
    with pytest.raises(DataUnreadable, match="cut off inside record 1"):
        open_source(tmp_path / "a.tfrecord.gz")


def test_a_gzip_bomb_is_left_before_it_is_unpacked(tmp_path):
    """One record of 700 MiB of zeros in 700 kB: its length and checksums are right."""
    length = struct.pack("<Q", 700 << 20)
    packer = zlib.compressobj(wbits=31)
    start = packer.compress(length + struct.pack("<I", masked(crc32c(length)))) + packer.flush(zlib.Z_FULL_FLUSH)
    megabyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    (tmp_path / "a.tfrecord.gz").write_bytes(start + megabyte * 700)
    with pytest.raises(DataUnreadable, match=r"declares 734,003,216 bytes of content in 7\d\d,\d\d\d bytes of file"):
        open_source(tmp_path / "a.tfrecord.gz")


def test_a_gzip_file_of_more_empty_records_than_it_has_bytes_is_left(tmp_path):
    (tmp_path / "a.tfrecord.gz").write_bytes(gzip.compress(framed(b"") * 1_000_001))
    with pytest.raises(DataUnreadable, match=r"declares 1,000,001 rows in [\d,]+ bytes of file"):
        open_source(tmp_path / "a.tfrecord.gz")


@pytest.mark.parametrize("damaged", [0, 4095, 4096, 9000])
def test_a_damaged_length_among_thousands_is_named(tmp_path, damaged):
    record = framed(example_of({"x": [1.0]}))
    content = bytearray(record * 9001)
    content[damaged * len(record)] ^= 1
    (tmp_path / "a.tfrecord").write_bytes(content)
    with pytest.raises(DataUnreadable, match=f"record {damaged:,} has a damaged length"):
        TFRecordSource("a", [tmp_path / "a.tfrecord"])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, (1 << 20) - 1, (1 << 20) + 1, 3 << 20])
def test_the_checksum_is_the_same_whatever_blocks_it_is_worked_out_in(tmp_path, size):
    """TensorFlow's own reader checks it."""
    record = np.random.default_rng(size).bytes(size)
    (tmp_path / "a.tfrecord").write_bytes(framed(record))
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(tmp_path / "a.tfrecord"))] == [record]
