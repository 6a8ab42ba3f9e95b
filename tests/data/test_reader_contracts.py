"""Every reader keeps the contract of a source."""

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from mlopt.data.opening import open_source
from mlopt.data.source import Source
from mlopt.testing.contracts import SourceContract

ROWS = 11
random = np.random.default_rng(5)
PIXELS = random.integers(0, 256, (ROWS, 4, 3, 3), dtype=np.uint8)
VECTORS = random.normal(size=(ROWS, 5)).astype(np.float32)
LABELS = np.arange(ROWS) % 3
DEVICES = ["phone", "tablet"] * 5 + ["phone"]


def png(pixels: np.ndarray) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()


def example(row: int) -> bytes:
    def of_bytes(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "image": of_bytes(png(PIXELS[row])),
        "tensor": of_bytes(tf.io.serialize_tensor(PIXELS[row]).numpy()),
        "raw": of_bytes(b"\x00" + VECTORS[row].tobytes()),
        "device": of_bytes(DEVICES[row].encode()),
        "vector": tf.train.Feature(float_list=tf.train.FloatList(value=VECTORS[row])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[LABELS[row]])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(path: Path, rows: range, options: str = "") -> None:
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for row in rows:
            writer.write(example(row))


class TestCompressedNpz(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        np.savez_compressed(
            tmp_path / "a.npz", x=PIXELS, vector=np.asfortranarray(VECTORS), big_endian=VECTORS.astype(">f4"),
            label=LABELS, device=np.array(DEVICES), code=np.array(DEVICES, "S"), names=np.array(["a", "b"]),
        )
        return open_source(tmp_path / "a.npz")


class TestNpzWithSplits(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        np.savez(tmp_path / "a.npz", x_test=PIXELS[8:], y_test=LABELS[8:], x_train=PIXELS[:8], y_train=LABELS[:8])
        return open_source(tmp_path / "a.npz")


class TestNpy(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        np.save(tmp_path / "a.npy", PIXELS)
        return open_source(tmp_path / "a.npy")


def table(rows: slice) -> pa.Table:
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS[rows].ravel()), 5)
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(VECTORS[rows].reshape(-1, 5, 1))
    encoded = [png(p) for p in PIXELS[rows]]
    return pa.table({
        "image": encoded,
        "hf": [{"bytes": e, "path": f"{i}.png"} for i, e in enumerate(encoded)],
        "nested": PIXELS[rows].tolist(),
        "fixed": fixed,
        "tensor": tensor,
        "device": pa.array(DEVICES[rows]).dictionary_encode(),
        "label": pa.array(LABELS[rows], pa.int8()),
        "flag": pa.array((LABELS[rows] > 1).tolist()),
        "when": pa.array([0] * len(encoded), pa.timestamp("ms")),
    })


class TestParquet(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        pq.write_table(table(slice(None)), tmp_path / "a.parquet", row_group_size=4)
        return open_source(tmp_path / "a.parquet")


class TestParquetParts(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        pq.write_table(table(slice(6, None)), tmp_path / "test-00000-of-00001.parquet", row_group_size=2)
        pq.write_table(table(slice(0, 4)), tmp_path / "train-00000-of-00002.parquet")
        pq.write_table(table(slice(4, 6)), tmp_path / "train-00001-of-00002.parquet")
        return open_source(tmp_path)


class TestImageFolder(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        for row in range(ROWS):
            file = tmp_path / ("train" if row < 8 else "test") / f"class{LABELS[row]}" / f"{row:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(PIXELS[row]))
        return open_source(tmp_path)


class TestTFRecord(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        write_records(tmp_path / "a.tfrecord", range(ROWS))
        return open_source(tmp_path / "a.tfrecord")


class TestGzippedTFRecord(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        write_records(tmp_path / "a.tfrecord.gz", range(ROWS), "GZIP")
        assert (tmp_path / "a.tfrecord.gz").read_bytes()[:2] == b"\x1f\x8b"
        return open_source(tmp_path / "a.tfrecord.gz")


class TestTFRecordParts(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        write_records(tmp_path / "pets-train.tfrecord-00000-of-00002", range(5))
        write_records(tmp_path / "pets-train.tfrecord-00001-of-00002", range(5, 8))
        write_records(tmp_path / "pets-test.tfrecord-00000-of-00001", range(8, ROWS))
        return open_source(tmp_path)


ENTRY = """
import numpy as np
from pathlib import Path

rows = dict(np.load(Path(__file__).parent / "rows.npz"))

def arrays():
    return rows

def batches():
    for start in range(0, 11, 4):
        yield {"x": rows["x"][start:start + 4]}, rows["label"][start:start + 4]

def texts():
    for start in range(0, 11, 4):
        yield {name: values[start:start + 4] for name, values in rows.items()}
"""


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    np.savez(tmp_path / "rows.npz", x=PIXELS, label=LABELS, device=np.array(DEVICES))
    (tmp_path / "entry_of_contract.py").write_text(ENTRY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "entry_of_contract", raising=False)
    return "entry_of_contract"


class TestPythonArrays(SourceContract):
    @pytest.fixture
    def source(self, entry: str) -> Source:
        return open_source(f"{entry}:arrays")


class TestPythonBatches(SourceContract):
    @pytest.fixture
    def source(self, entry: str) -> Source:
        return open_source(f"{entry}:batches")


class TestPythonBatchesWithText(SourceContract):
    @pytest.fixture
    def source(self, entry: str) -> Source:
        return open_source(f"{entry}:texts")
