"""A source that cannot be read says what it is and what to do."""

import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from mlopt.data.opening import open_source
from mlopt.errors import DataUnreadable

X = np.arange(24, dtype=np.float32).reshape(6, 4)


def npz(path: Path) -> Path:
    np.savez(path, x=X, y=np.arange(6))
    return path


def record(path: Path) -> Path:
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0, 2.0]))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _ in range(5):
            writer.write(tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString())
    return path


def read_all(path: Path) -> None:
    source = open_source(path)
    for _ in source.read(list(source.columns)):
        pass


def test_the_kind_is_told_by_content_and_not_by_the_name(tmp_path):
    npz(tmp_path / "a.npz").rename(tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [[1.0]]}), tmp_path / "b.npz")
    record(tmp_path / "c.dat")
    assert open_source(tmp_path / "a.parquet").about == "npz"
    assert open_source(tmp_path / "b.npz").about == "parquet"
    assert open_source(tmp_path / "c.dat").about == "TFRecord"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"x,y\n1,2\n3,4\n5,6\n", "text file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "single image"),
        (bytes(range(128, 160)), "80 81 82"),
        (b"PK\3\4" + bytes(30), "truncated zip"),
        (b"PAR1" + bytes(30), "not a whole parquet"),
        (b"\x93NUMPY" + bytes(30), "no valid array header"),
        (b"\x1f\x8b" + bytes(30), "unreadable"),
    ],
)
def test_a_file_that_is_no_data_is_refused_with_what_it_is(tmp_path, content, said):
    (tmp_path / "data").write_bytes(content)
    with pytest.raises(DataUnreadable, match=said):
        open_source(tmp_path / "data")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataUnreadable, match="no such file"):
        open_source(tmp_path / "nothing.npz")


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataUnreadable, match="a named pipe"):
        open_source(tmp_path / "pipe")


def test_a_file_without_permission_is_refused(tmp_path):
    path = npz(tmp_path / "a.npz")
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        with pytest.raises(DataUnreadable, match="permission denied"):
            open_source(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("keep", [0.3, 0.63, 0.95])
@pytest.mark.parametrize("kind", ["npz", "npy", "parquet", "tfrecord"])
def test_a_truncated_file_is_refused_and_never_read_as_shorter(tmp_path, kind, keep):
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        npz(path)
    elif kind == "npy":
        np.save(path, X)
    elif kind == "parquet":
        pq.write_table(pa.table({"x": X.tolist()}), path)
    else:
        record(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DataUnreadable):
        read_all(path)


def test_damage_inside_a_compressed_array_is_told(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, 5000, dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", x=noise)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[2000] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataUnreadable, match="damaged"):
        read_all(tmp_path / "a.npz")


def test_pickled_arrays_are_refused_and_never_unpickled(tmp_path):
    marker = tmp_path / "ran"

    class Harm:
        def __reduce__(self):
            return (Path.touch, (marker,))

    np.savez(tmp_path / "a.npz", x=np.array([Harm()], dtype=object), allow_pickle=True)
    with pytest.raises(DataUnreadable, match="Python objects"):
        open_source(tmp_path / "a.npz")
    assert not marker.exists()


def test_an_array_that_announces_more_than_it_holds_is_refused_before_memory_is_taken(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 4)})
        file.write(bytes(64))
    with pytest.raises(DataUnreadable, match="truncated: 32,000,000,000,128 bytes are announced"):
        open_source(tmp_path / "a.npy")


def test_a_zip_without_arrays_is_refused_with_what_it_holds(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(DataUnreadable, match=r"without arrays \(it holds config.json\)"):
        open_source(tmp_path / "model.keras")


def test_arrays_of_differing_rows_are_refused_with_both_counts(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=np.arange(5))
    with pytest.raises(DataUnreadable, match="x has 6, y has 5"):
        open_source(tmp_path / "a.npz")


def test_an_array_that_lists_something_else_is_unused_and_told(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=np.arange(6), class_names=np.array(["a", "b"]), mean=np.float32(3))
    source = open_source(tmp_path / "a.npz")
    assert set(source.columns) == {"x", "y"}
    assert len([n for n in source.notes if "unused" in n]) == 2


def test_an_empty_folder_and_one_without_data_are_refused(tmp_path):
    with pytest.raises(DataUnreadable, match="no files"):
        open_source(tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(DataUnreadable, match=r"none of them readable \(readme.txt\)"):
        open_source(tmp_path)


def test_other_files_beside_the_images_are_told(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / name / "1.png")
    (tmp_path / "notes.csv").write_text("x")
    (tmp_path / ".DS_Store").write_text("x")
    source = open_source(tmp_path)
    assert source.count == 2 and source.columns["label"].names == ("a", "b")
    assert source.notes == ("1 other files in the folder, unused: notes.csv",)


def test_numbered_class_folders_in_text_order_are_told(tmp_path):
    for name in ("0", "1", "2", "10"):
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name / "1.png")
    source = open_source(tmp_path)
    assert source.columns["label"].names == ("0", "1", "10", "2")
    assert "text order" in source.notes[0]


def test_a_flat_folder_and_a_single_subfolder_have_no_labels(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "images" / "1.png")
    assert set(open_source(tmp_path).columns) == set(open_source(tmp_path / "images").columns) == {"image"}


@pytest.mark.parametrize(
    ("body", "entry", "said"),
    [
        ("def f(): return 3", "f", "returned int"),
        ("def f(): return 1 / 0", "f", r"failed with ZeroDivisionError: division by zero \(.*line 1\)"),
        ("def g(): return 3", "f", "has no attribute 'f'"),
        ("f = 3", "f", "not a function"),
        ("import no_such_module_here", "f", "No module named 'no_such_module_here'.*own imports"),
        ("import numpy as np\ndef f(): return {'x': np.zeros((3, 2)), 'y': np.zeros(4)}", "f", "x has 3, y has 4"),
        ("import numpy as np\ndef f(): return {'x': np.zeros((0, 2))}", "f", "no samples"),
        ("import numpy as np\ndef f(): return {'x': [np.zeros(2), 'a']}", "f", "x is (no array|an array of Python)"),
        ("import numpy as np\ndef f():\n  yield np.zeros((2, 2))\n  yield np.zeros((2, 3))", "f", "after 2 rows"),
        ("def f():\n  yield 3", "f", "gives int where a batch"),
        ("def f():\n  raise KeyError('a')\n  yield", "f", "failed after 0 batches with KeyError"),
    ],
)
def test_an_entry_that_gives_no_data_is_told_in_the_users_words(tmp_path, monkeypatch, body, entry, said):
    (tmp_path / "entry_of_opening.py").write_text(body)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "entry_of_opening", raising=False)
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    with pytest.raises(DataUnreadable, match=said):
        open_source(f"entry_of_opening:{entry}")
    sys.modules.pop("entry_of_opening", None)


def test_an_endless_generator_is_stopped(tmp_path, monkeypatch):
    from mlopt.data.readers.python import open_entry

    (tmp_path / "endless_entry.py").write_text(
        "import numpy as np\ndef f():\n  while True:\n    yield np.zeros((100, 100))"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataUnreadable, match="had not ended"):
        open_entry("endless_entry:f", largest_spool=1 << 20)


def test_an_entry_may_return_a_tensorflow_dataset(tmp_path, monkeypatch):
    (tmp_path / "tf_entry.py").write_text(
        "import tensorflow as tf\n"
        "def f(): return tf.data.Dataset.from_tensor_slices(([[1.0], [2.0], [3.0]], [0, 1, 0])).batch(2)"
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = open_source("tf_entry:f")
    rows = np.concatenate([block["x"] for block in source.read(["x"])])
    assert source.count == 3 and rows.ravel().tolist() == [1.0, 2.0, 3.0]


def test_an_entry_may_give_its_pairs_as_lists_as_a_torch_loader_does(tmp_path, monkeypatch):
    (tmp_path / "lists_entry.py").write_text(
        "import numpy as np\ndef f(): return ([np.full((2, 1), i), np.full(2, 10 * i)] for i in range(3))"
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = open_source("lists_entry:f")
    (block,) = source.read(["x", "label"])
    assert block["x"].ravel().tolist() == [0, 0, 1, 1, 2, 2] and block["label"].tolist() == [0, 0, 10, 10, 20, 20]


def test_parquet_nulls_and_ragged_lists_name_their_row(tmp_path):
    pq.write_table(pa.table({"x": [[1.0, 2.0], None, [3.0, 4.0]]}), tmp_path / "a.parquet")
    with pytest.raises(DataUnreadable, match=r"column x is empty \(null\) in row 1"):
        read_all(tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [[1.0, 2.0], [3.0, 4.0], [5.0]]}), tmp_path / "b.parquet")
    with pytest.raises(DataUnreadable, match="2 values in the first row and 1 in row 2"):
        read_all(tmp_path / "b.parquet")


def test_parquet_parts_of_different_tables_are_refused(tmp_path):
    pq.write_table(pa.table({"x": [[1.0]]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"z": [[1.0]]}), tmp_path / "b.parquet")
    with pytest.raises(DataUnreadable, match=r"b.parquet has other columns than a.parquet"):
        open_source(tmp_path)


def test_class_names_written_by_hugging_face_are_read(tmp_path):
    meta = {"huggingface": '{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}'}
    pq.write_table(pa.table({"x": [[1.0]], "label": [0]}).replace_schema_metadata(meta), tmp_path / "a.parquet")
    assert open_source(tmp_path / "a.parquet").columns["label"].names == ("cat", "dog")
