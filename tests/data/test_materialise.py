"""From a source to folders of samples: what is chosen, checked, stored and told."""

import io
import json
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlopt.data.dataset import Dataset, Request
from mlopt.data.materialise import write_arrays, write_calibration_and_test, write_samples
from mlopt.data.preparation import Preparation
from mlopt.data.readers.python import ArraySource
from mlopt.data.samples import Samples
from mlopt.data.source import Column, Kind
from mlopt.data.splits import Role
from mlopt.errors import DataMismatch, DataUnreadable, OutputUnwritable
from mlopt.model import Signature, TensorSpec

ROWS = 40
random = np.random.default_rng(9)
PIXELS = random.integers(0, 256, (ROWS, 4, 4, 3), dtype=np.uint8)
LABELS = np.arange(ROWS) % 4
TO_ONE = Preparation(normalise=(0, 1))


def spec(name: str, *shape: int | None, dtype: str = "float32") -> TensorSpec:
    layout = {4: "NHWC", 3: "NTC", 2: "NC"}.get(len(shape) + 1, "N")
    return TensorSpec(name=name, shape=(None, *shape), dtype=dtype, layout=layout)


def model(*inputs: TensorSpec, classes: int = 4) -> Signature:
    return Signature(inputs=inputs or (spec("image", 4, 4, 3),), outputs=(spec("label", classes),))


def source(**arrays: np.ndarray) -> ArraySource:
    return ArraySource("data", arrays)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(given, signature, dest, *, role=Role.TEST, limit=None, seed=0, **options):
    summary = write_samples(given, signature, dest, role=role, limit=limit, seed=seed, **options)
    return summary, Samples.open(dest)


def test_a_test_set_is_the_source_in_its_order_and_dtype(tmp_path):
    summary, samples = write(source(x=PIXELS, y=LABELS), model(), tmp_path / "s")
    np.testing.assert_array_equal(samples.inputs["image"], PIXELS)
    assert samples.inputs["image"].dtype == np.uint8 and samples.rows(0, 2)["image"].dtype == np.float32
    np.testing.assert_array_equal(samples.labels, LABELS)
    assert (summary.count, summary.notes, summary.warnings) == (ROWS, (), ())


def test_every_stored_row_is_the_source_row_that_it_names(tmp_path):
    device = np.where(np.arange(ROWS) % 3, "phone", "tablet")
    for role in Role:
        _, samples = write(source(x=PIXELS, y=LABELS, device=device), model(), tmp_path / role, role=role, limit=10)
        rows = np.asarray(samples.source_rows)
        assert len(set(rows.tolist())) == samples.count == 10
        np.testing.assert_array_equal(samples.inputs["image"], PIXELS[rows])
        np.testing.assert_array_equal(samples.labels, LABELS[rows])
        np.testing.assert_array_equal(samples.slices["device"], device[rows])


def test_calibration_takes_as_many_of_each_class_and_tells_what_is_unused(tmp_path):
    skewed = np.array([0] * 30 + [1] * 4 + [2] * 3 + [3] * 3)
    summary, samples = write(source(x=PIXELS, y=skewed), model(), tmp_path / "s", role=Role.CALIBRATION, limit=12)
    assert np.bincount(samples.labels).tolist() == [3, 3, 3, 3]
    assert summary.notes == ("28 of 40 rows not used: calibration takes 12",)


def test_any_first_part_of_a_calibration_set_sees_several_classes(tmp_path):
    in_order = np.repeat(np.arange(4), 10)
    _, samples = write(source(x=PIXELS, y=in_order), model(), tmp_path / "s", role=Role.CALIBRATION, limit=40)
    assert len(set(samples.labels[:8].tolist())) > 1 and samples.labels.tolist() != in_order.tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(2, ROWS), st.integers(1, 60), st.one_of(st.none(), st.integers(1, 60)), st.integers(0, 3))
def test_calibration_and_test_share_no_row_and_waste_none(tmp_path_factory, count, calibration, test, seed):
    folder = tmp_path_factory.mktemp("d")
    one, two = write_calibration_and_test(
        source(x=PIXELS[:count], y=LABELS[:count]), model(), folder / "c", folder / "t", seed=seed,
        calibration_limit=calibration, test_limit=test,
    )
    rows = [set(np.asarray(Samples.open(s.folder).source_rows).tolist()) for s in (one, two)]
    assert not rows[0] & rows[1] and 1 <= one.count <= max(1, min(calibration, count // 4))
    assert two.count == min(test or count, count - one.count)


def test_named_splits_go_to_the_role_that_is_meant(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=PIXELS[:30], y_train=LABELS[:30], x_test=PIXELS[30:], y_test=LABELS[30:],
             x_val=PIXELS[:5], y_val=LABELS[:5])
    one, two = write_calibration_and_test(
        tmp_path / "a.npz", model(), tmp_path / "c", tmp_path / "t", seed=0, calibration_limit=8
    )
    assert (one.split, one.count, two.split, two.count) == ("train", 8, "test", 10)
    np.testing.assert_array_equal(Samples.open(two.folder).inputs["image"], PIXELS[30:])
    assert one.notes == (
        "22 of 30 rows of split train not used: calibration takes 8",
        "split validation not used (5 rows): calibration takes train",
    )


def test_a_rare_class_keeps_its_share_in_the_test_though_calibration_takes_as_many_of_each(tmp_path):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [600, 200, 160, 40]))
    calibration, test = write_calibration_and_test(
        source(x=np.zeros((1000, 4, 4, 3), np.uint8), y=labels), model(), tmp_path / "c", tmp_path / "t", seed=0,
        calibration_limit=160, test_limit=500,
    )
    found = [np.bincount(Samples.open(one.folder).labels, minlength=4) for one in (calibration, test)]
    np.testing.assert_allclose(found[1] / 500, [0.6, 0.2, 0.16, 0.04], atol=0.03)
    assert found[1][3] >= 15 and found[0][3] == 40 - found[1][3]        # of the rare class all that the test has left
    assert found[0][:3].max() - found[0][:3].min() <= 1


def test_only_chosen_pictures_are_decoded(tmp_path):
    encoded = [png(p) for p in PIXELS]
    _, samples = write(source_of_pictures(tmp_path, encoded), model(), tmp_path / "a", role=Role.CALIBRATION, limit=8)
    chosen = set(samples.source_rows.tolist())
    broken = [e if i in chosen else b"\x89PNG\r\n\x1a\nbroken" for i, e in enumerate(encoded)]
    _, samples = write(source_of_pictures(tmp_path, broken), model(), tmp_path / "b", role=Role.CALIBRATION, limit=8)
    assert set(samples.source_rows.tolist()) == chosen
    with pytest.raises(DataUnreadable, match=r"row .* cannot be decoded"):
        write(source_of_pictures(tmp_path, broken), model(), tmp_path / "c")


def source_of_pictures(folder: Path, encoded: list[bytes]) -> Path:
    pq.write_table(pa.table({"image": encoded, "label": LABELS[: len(encoded)], "id": np.arange(len(encoded))}),
                   folder / "a.parquet", row_group_size=7)
    return folder / "a.parquet"


def test_an_unused_column_is_told(tmp_path):
    summary, _ = write(source_of_pictures(tmp_path, [png(p) for p in PIXELS]), model(), tmp_path / "s")
    assert summary.notes == ("column id unused",)


def test_the_same_arguments_write_the_same_bytes_and_another_seed_others(tmp_path):
    def content(name: str, seed: int) -> dict[str, bytes]:
        write(source(x=PIXELS, y=LABELS), model(), tmp_path / name, role=Role.CALIBRATION, limit=9, seed=seed)
        return {p.relative_to(tmp_path / name).as_posix(): p.read_bytes() for p in (tmp_path / name).rglob("*.*")}

    assert content("a", 1) == content("b", 1) != content("c", 2)


def test_normalisation_maps_0_and_255_and_leaves_the_stored_pixels(tmp_path):
    for low, high in ((0, 1), (-1, 1)):
        prepared = Preparation(normalise=(low, high))
        _, samples = write(source(x=PIXELS, y=LABELS), model(), tmp_path / "s", preparation=prepared)
        np.testing.assert_array_equal(samples.inputs["image"], PIXELS)
        np.testing.assert_allclose(
            samples.rows(0, ROWS)["image"], PIXELS / 255.0 * (high - low) + low, atol=1e-6
        )


def test_normalisation_is_for_pixels_and_spares_the_other_inputs(tmp_path):
    extra = random.normal(size=(ROWS, 3)).astype(np.float32)
    signature = model(spec("image", 4, 4, 3), spec("extra", 3))
    _, samples = write(source(image=PIXELS, extra=extra, y=LABELS), signature, tmp_path / "s", preparation=TO_ONE)
    assert samples.rows(0, ROWS)["image"].max() == 1.0
    np.testing.assert_array_equal(samples.rows(0, ROWS)["extra"], extra)
    with pytest.raises(DataMismatch, match="no pixels to normalise"):
        write(source(x=LABELS[:, None]), model(spec("x", 1, dtype="int32")), tmp_path / "t", preparation=TO_ONE)


def test_flat_pixels_of_an_only_input_are_normalised_too(tmp_path):
    flat = PIXELS.reshape(ROWS, -1).astype(np.float32)
    _, samples = write(source(x=flat), model(spec("x", 48)), tmp_path / "s", preparation=TO_ONE)
    np.testing.assert_allclose(samples.rows(0, ROWS)["x"], flat / 255, atol=1e-6)


def test_token_inputs_keep_whole_numbers_of_the_models_dtype(tmp_path):
    tokens = random.integers(0, 99, (ROWS, 6))
    for dtype in ("uint8", "int64"):
        _, samples = write(
            source(x=tokens.astype(dtype)), model(spec("tokens", 6, dtype="int32")), tmp_path / dtype
        )
        found = samples.rows(0, ROWS)["tokens"]
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, tokens)


def test_wide_numbers_for_a_float_model_are_stored_as_float32(tmp_path):
    for dtype in ("int64", "float64", "int32"):
        summary, samples = write(source(x=PIXELS.astype(dtype)), model(), tmp_path / dtype)
        assert samples.inputs["image"].dtype == np.float32
        assert f"column x: {dtype} read as float32" in summary.notes
        np.testing.assert_array_equal(samples.rows(0, ROWS)["image"], PIXELS)


MISMATCHES = [
    ({"x": PIXELS[:, :3]}, model(), r"\[N, 4, 4, 3\]; the data has x: uint8 \[N, 3, 4, 3\]"),
    ({"x": PIXELS.transpose(0, 3, 1, 2)}, model(), r"channels first \(NCHW\).*transpose\(x, \(0, 2, 3, 1\)"),
    ({"x": PIXELS}, model(spec("x", 3, 4, 4)), r"channels last \(NHWC\).*transpose\(x, \(0, 3, 1, 2\)"),
    ({"x": np.zeros((9, 5, 16), np.float32)}, model(spec("x", 16, 5)), r"axes look swapped.*\(0, 2, 1\)"),
    ({"x": PIXELS[0]}, model(), r"one sample without the first axis: store x\[None\]"),
    ({"x": np.array(["a"] * 4)}, model(), "one input image"),
    ({"x": PIXELS + 1j}, model(), "one input image.*x: complex128"),
    ({"x": PIXELS.astype(np.float32)}, model(spec("x", 4, 4, 3, dtype="int32")), r"store x.astype\('int32'\)"),
    ({"x": np.full((3, 2), 300)}, model(spec("x", 2, dtype="uint8")), "so 0 to 255; the data has 300 in row 0"),
    ({"image": PIXELS, "b": PIXELS}, model(spec("image", 4, 4, 3), spec("extra", 3)), "Missing: extra"),
    ({"a": PIXELS, "b": PIXELS}, model(), "Name the column that feeds it 'image'"),
    ({"x": PIXELS, "y": LABELS + 1}, model(), "10 of 40 labels outside, in column y: 4.*count from 1"),
]


@pytest.mark.parametrize(("arrays", "signature", "said"), MISMATCHES)
def test_data_that_does_not_fit_says_what_is_wanted_and_what_is_there(tmp_path, arrays, signature, said):
    with pytest.raises(DataMismatch, match=said):
        write(source(**arrays), signature, tmp_path / "s")
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_not_finite_are_counted_and_the_first_row_named(tmp_path):
    values = PIXELS.astype(np.float32)
    values[5, 0, 0, 0], values[7, 1, 1] = np.nan, np.inf
    with pytest.raises(DataMismatch, match="4 NaN or infinite values, the first one in row 5"):
        write(source(x=values), model(), tmp_path / "s")
    with pytest.raises(DataMismatch, match="4 NaN or infinite"):
        write(source(x=np.where(np.isfinite(values), values.astype(np.float64), 1e200)), model(), tmp_path / "s")


def test_samples_need_no_labels(tmp_path):
    assert write(source(x=PIXELS), model(), tmp_path / "s")[1].labels is None


def test_one_row_cannot_serve_both(tmp_path):
    with pytest.raises(DataMismatch, match="1 row"):
        write_calibration_and_test(source(x=PIXELS[:1]), model(), tmp_path / "c", tmp_path / "t", seed=0)


def test_a_missing_last_axis_of_one_is_added_and_told(tmp_path):
    summary, samples = write(source(x=PIXELS[..., 0]), model(spec("image", 4, 4, 1)), tmp_path / "s")
    np.testing.assert_array_equal(samples.inputs["image"], PIXELS[..., :1])
    assert summary.notes == ("column x: rows of [4, 4] read as [4, 4, 1]",)


def test_flat_lists_are_read_in_row_order_and_told_but_flat_arrays_are_refused(tmp_path):
    pq.write_table(pa.table({"pixels": PIXELS.reshape(ROWS, -1).tolist()}), tmp_path / "a.parquet")
    summary, samples = write(tmp_path / "a.parquet", model(), tmp_path / "s")
    np.testing.assert_array_equal(samples.rows(0, ROWS)["image"], PIXELS)
    assert "flat rows of 48 values read as [4, 4, 3], last axis fastest" in summary.notes[0]
    with pytest.raises(DataMismatch):
        write(source(x=PIXELS.reshape(ROWS, -1)), model(), tmp_path / "t")


def test_slices_are_text_of_few_values_or_what_was_asked_for(tmp_path):
    region, name = np.array(["north", "south"] * 20), np.array([f"file{i}" for i in range(ROWS)])
    given = source(x=PIXELS, y=LABELS, region=region, name=name, year=LABELS + 2020)
    summary, samples = write(given, model(), tmp_path / "a")
    assert summary.slice_names == ("region",) and samples.slices["region"].tolist() == region.tolist()
    assert "column year unused" in summary.notes and any("name unused: it is free text" in n for n in summary.notes)
    summary, samples = write(given, model(), tmp_path / "b", preparation=Preparation(slice_columns=("year",)))
    assert summary.slice_names == ("year",) and samples.slices["year"].tolist() == (LABELS + 2020).tolist()
    with pytest.raises(DataMismatch, match="the slice column nowhere"):
        write(given, model(), tmp_path / "c", preparation=Preparation(slice_columns=("nowhere",)))


def test_marks_beside_an_autoencoder_become_slices(tmp_path):
    signature = Signature(inputs=(spec("x", 24),), outputs=(spec("out", 24),))
    given = source(x=random.normal(size=(ROWS, 24)).astype(np.float32), y=LABELS)
    summary, samples = write(given, signature, tmp_path / "s")
    assert samples.labels is None and samples.slices["y"].tolist() == LABELS.tolist()
    assert "column y groups the samples" in summary.notes[0]


@pytest.mark.parametrize(
    ("values", "normalise", "said"),
    [
        (np.full_like(PIXELS, 7), None, "every value of input image is 7"),
        (np.repeat(PIXELS[:1], 5, axis=0), None, "all samples of input image are the same"),
        (PIXELS / 255.0, (0, 1), "seems normalised already"),
        (PIXELS * 2.0, (0, 1), "expects 0 to 255"),
    ],
)
def test_values_that_look_wrong_are_warned_of(tmp_path, values, normalise, said):
    summary, _ = write(source(x=values), model(), tmp_path / "s", preparation=Preparation(normalise=normalise))
    assert len(summary.warnings) == 1 and said in summary.warnings[0]


def test_progress_ends_at_the_whole(tmp_path):
    seen = []
    write(source(x=np.zeros((3000, 2), np.float32) + 1), model(spec("x", 2)), tmp_path / "s",
          progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 1 and seen[-1] == (3000, 3000) and seen == sorted(seen)


def test_a_failure_on_the_way_leaves_what_was_there(tmp_path):
    write(source(x=PIXELS, y=LABELS), model(), tmp_path / "s")
    before = (tmp_path / "s" / "inputs" / "image.npy").read_bytes()
    broken = PIXELS.astype(np.float32)
    broken[-1, 0, 0, 0] = np.nan
    with pytest.raises(DataMismatch):
        write(source(x=broken), model(), tmp_path / "s")
    assert (tmp_path / "s" / "inputs" / "image.npy").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s"]
    _, samples = write(source(x=PIXELS[:3]), model(), tmp_path / "s")
    assert samples.count == 3 and samples.labels is None


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputUnwritable, match="File too large"):
            write(source(x=PIXELS), model(), tmp_path / "s")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_a_limit_below_one_is_a_bad_argument(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        write(source(x=PIXELS), model(), tmp_path / "s", limit=0)


def test_a_single_sample_is_not_called_the_same_as_all_others(tmp_path):
    assert write(source(x=PIXELS), model(), tmp_path / "s", limit=1)[0].warnings == ()


def test_a_file_of_parts_in_folders_named_like_splits_has_those_splits(tmp_path):
    for split, rows in (("train", slice(0, 30)), ("test", slice(30, ROWS))):
        (tmp_path / "data" / split).mkdir(parents=True)
        pq.write_table(
            pa.table({"x": PIXELS[rows].tolist(), "label": LABELS[rows]}), tmp_path / "data" / split / "0000.parquet"
        )
    summary, samples = write(tmp_path / "data", model(), tmp_path / "s")
    assert (summary.split, summary.count) == ("test", 10)
    np.testing.assert_array_equal(samples.rows(0, 10)["image"], PIXELS[30:])


def test_something_else_in_the_place_is_never_replaced(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputUnwritable, match="something else than samples"):
        write(source(x=PIXELS), model(), tmp_path / "s")
    assert (tmp_path / "s" / "thesis.txt").read_text() == "mine"


def test_input_names_of_a_hostile_model_stay_inside_the_folder(tmp_path):
    summary = write_arrays(tmp_path / "in" / "s", {"../../x:0": PIXELS}, role=Role.CALIBRATION)
    assert {p.name for p in tmp_path.iterdir()} == {"in"}
    assert set(Samples.open(summary.folder).inputs) == {"../../x:0"}


def test_synthesised_arrays_say_that_they_are(tmp_path):
    summary = write_arrays(tmp_path / "s", {"image": PIXELS}, role=Role.CALIBRATION, signature=model())
    samples = Samples.open(tmp_path / "s")
    assert (summary.origin, samples.origin, samples.count, samples.labels) == ("synthesised", "synthesised", ROWS, None)
    with pytest.raises(ValueError, match="same number of rows"):
        write_arrays(tmp_path / "t", {"image": PIXELS, "b": PIXELS[:3]}, role=Role.TEST)


def test_a_folder_as_first_laid_out_still_opens(tmp_path):
    (tmp_path / "inputs").mkdir()
    np.save(tmp_path / "inputs" / "x.npy", PIXELS)
    np.save(tmp_path / "inputs" / "tokens.npy", LABELS)
    (tmp_path / "meta.json").write_text(json.dumps({"count": ROWS, "scale": 1.0, "offset": 0.0, "origin": "given"}))
    rows = Samples.open(tmp_path).rows(0, 2)
    assert rows["x"].dtype == np.float32 and rows["tokens"].dtype == LABELS.dtype


def test_a_dataset_streams_any_rows_of_a_split_for_training(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=PIXELS[:30], y_train=LABELS[:30], x_test=PIXELS[30:], y_test=LABELS[30:])
    dataset = Dataset.open(tmp_path / "a.npz", model())
    rows = np.array(dataset.source.splits["train"])
    batches = list(dataset.batches(rows, size=8))
    assert [len(b.rows) for b in batches] == [8, 8, 8, 6]
    np.testing.assert_array_equal(np.concatenate([b.inputs["image"] for b in batches]), PIXELS[:30])
    (chosen,) = dataset.choose([Request(role=Role.TEST)], seed=0)
    assert chosen.split == "test" and chosen.rows.tolist() == list(range(30, 40))


def test_reading_imports_no_framework():
    code = (
        "import sys, mlopt.data.materialise, mlopt.data.fingerprint, mlopt.data.readers.parquet\n"
        "bad = {'tensorflow', 'torch', 'keras', 'tf_keras', 'onnx', 'pandas', 'scipy'} & set(sys.modules)\n"
        "sys.exit(', '.join(bad) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("asked", "found"), [(4, [0, 3, 6, 9]), (3, [0, 4, 9]), (1, [0]), (10, list(range(10))),
                                              (99, list(range(10)))])
def test_spread_samples_reach_from_the_first_to_the_last(tmp_path, asked, found):
    write_arrays(tmp_path / "s", {"x": np.arange(10, dtype=np.float32)}, role=Role.TEST, labels=np.arange(10) // 5)
    spread = Samples.open(tmp_path / "s").spread(asked)
    assert spread.rows(0, spread.count)["x"].tolist() == found and spread.count == len(found)
    assert spread.labels.tolist() == [row // 5 for row in found]


def chosen_of(dataset, **limits):
    requests = [Request(role=Role(name), limit=limit) for name, limit in limits.items()]
    return dict(zip(limits, dataset.choose(requests, seed=0), strict=True))


def test_training_takes_what_a_tenth_for_each_other_role_leaves():
    chosen = chosen_of(Dataset.open(source(x=PIXELS, y=LABELS), model()),
                       train=None, validation=5000, test=2000, calibration=512)
    assert [len(chosen[role].rows) for role in ("calibration", "validation", "test", "train")] == [4, 3, 3, 30]
    assert sorted(row for part in chosen.values() for row in part.rows) == list(range(ROWS))


def test_training_beside_named_splits_is_whole(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=PIXELS[:30], y_train=LABELS[:30], x_val=PIXELS[30:], y_val=LABELS[30:])
    chosen = chosen_of(Dataset.open(tmp_path / "a.npz", model()), train=None, validation=5000)
    assert (chosen["train"].split, len(chosen["train"].rows)) == ("train", 30)
    assert (chosen["validation"].split, len(chosen["validation"].rows)) == ("validation", 10)


def test_two_rows_cannot_train_validate_and_test():
    dataset = Dataset.open(source(x=PIXELS[:2], y=LABELS[:2]), model())
    wanted = "samples for validation and others for test and for train; the data has 2 rows"
    with pytest.raises(DataMismatch, match=wanted):
        chosen_of(dataset, train=None, validation=10, test=10)


def test_validation_leaves_the_test_half_of_the_only_split_beside_training(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=PIXELS[:30], y_train=LABELS[:30], x_val=PIXELS[30:], y_val=LABELS[30:])
    chosen = chosen_of(Dataset.open(tmp_path / "a.npz", model()), train=None, validation=5000, test=2000)
    assert [(chosen[role].split, len(chosen[role].rows)) for role in ("validation", "test")] == [("validation", 5)] * 2
    assert not set(chosen["validation"].rows) & set(chosen["test"].rows)


class Stories:
    """One long text a row, each its own object, and a picture of a size that the model leaves free."""

    text = about = "stories"
    notes: tuple[str, ...] = ()
    count = 40

    def __init__(self, side: int) -> None:
        self.columns = {
            "image": Column(name="image", kind=Kind.IMAGE), "story": Column(name="story", kind=Kind.TEXT),
            "device": Column(name="device", kind=Kind.TEXT),
        }
        packed = io.BytesIO()
        Image.new("RGB", (side, side)).save(packed, "PNG")
        self.picture = packed.getvalue()
        self.asked: list[int] = []
        self.splits: dict[str, range] = {}

    def read(self, columns, rows=None, *, batch=1024):
        self.asked.append(batch)
        wanted = range(self.count) if rows is None else rows.tolist()
        step = min(batch, 4)
        for start in range(0, len(wanted), step):
            here = wanted[start : start + step]
            yield {name: self._values(name, here) for name in columns}

    def _values(self, name, rows):
        made = {
            "image": lambda row: self.picture, "story": lambda row: f"{row}" * 500_000,
            "device": lambda row: "ab"[row % 2],
        }
        values = np.empty(len(rows), dtype=object)
        values[:] = [made[name](row) for row in rows]
        return values

    def row_name(self, row):
        return f"row {row}"


FREE = Signature(
    inputs=(TensorSpec(name="image", shape=(None, None, None, 3), dtype="float32", layout="NHWC"),),
    outputs=(TensorSpec(name="y", shape=(None, 2), dtype="float32", layout="NC"),),
)


def test_of_long_texts_no_more_is_kept_than_tells_that_they_group_nothing(tmp_path):
    tracemalloc.start()
    summary = write_samples(Stories(8), FREE, tmp_path / "a", role=Role.TEST, limit=None, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary.slice_names == ("device",)
    assert "column story unused: it is free text or of one value, not a grouping" in summary.notes
    assert peak < 16_000_000                                # of 35,000,000 characters in all, 4,000,000 in a batch


def test_pictures_of_a_free_size_come_in_batches_of_bounded_bytes(tmp_path):
    stories = Stories(2000)                                 # 12,000,000 bytes each when decoded
    write_samples(stories, FREE, tmp_path / "a", role=Role.TEST, limit=5, seed=0)
    assert stories.asked[-1] == 2                           # of 32 MiB at most


def test_a_source_that_gives_fewer_rows_than_it_counts_is_refused(tmp_path):
    stories = Stories(8)
    whole = stories.read
    stories.count = 41
    stories.read = lambda columns, rows=None, *, batch=1024: whole(columns, np.arange(40), batch=batch)
    with pytest.raises(DataUnreadable, match="it gave 40 of 41 rows"):
        write_samples(stories, FREE, tmp_path / "a", role=Role.TEST, limit=None, seed=0)
    assert list(tmp_path.iterdir()) == []
