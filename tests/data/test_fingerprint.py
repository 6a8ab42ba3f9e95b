"""The fingerprint names the samples and tells their distribution, however they were written."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlopt.data.fingerprint as module
from mlopt import plain
from mlopt.data.fingerprint import OCCUPIED, SampleFingerprint, fingerprint
from mlopt.data.materialise import write_arrays
from mlopt.data.samples import Samples
from mlopt.data.splits import Role
from mlopt.data.storing import new_samples
from mlopt.distribution import Distribution

random = np.random.default_rng(3)


def samples(folder: Path, x: np.ndarray, labels: np.ndarray | None = None, **options: float) -> Samples:
    write_arrays(folder / "s", {"x": x}, role=Role.CALIBRATION, labels=labels, **options)
    return Samples.open(folder / "s")


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(12)), st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 5))
def test_neither_the_order_nor_the_pieces_of_writing_and_reading_show(order, pieces, rows_held):
    x = (random.normal(size=(12, 3, 2)) * 10.0 ** random.uniform(-12, 12, (12, 3, 2))).astype(np.float32)
    labels = np.arange(12, dtype=np.int32) % 4
    with tempfile.TemporaryDirectory() as folder:
        expected = fingerprint(samples(Path(folder), x, labels))
        with new_samples(Path(folder) / "t", 12) as being_written:
            start = 0
            for size in [*pieces, 12]:
                places = np.array(order[start : start + size], dtype=np.int64)
                start += size
                if len(places):
                    being_written.put_inputs("x", places, x[places])
                    being_written.put_labels(places, labels[places])
            being_written.finish(
                slices={}, source_rows=None, scale=1.0, offset=0.0, origin="given", unscaled=(), dtypes={},
                class_names=(),
            )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_CHUNK_BYTES", rows_held * x[0].nbytes)
            assert fingerprint(Samples.open(Path(folder) / "t")) == expected


def test_any_change_of_a_value_a_label_or_a_name_changes_the_digest(tmp_path):
    x, labels = np.zeros((4, 2), np.float32), np.zeros(4, np.int32)
    changed_x, changed_labels = x.copy(), labels.copy()
    changed_x[3, 1], changed_labels[0] = 1e-30, 1
    digests = set()
    for i, (name, values, marks) in enumerate(
        [("x", x, labels), ("x", changed_x, labels), ("x", x, changed_labels), ("z", x, labels), ("x", x, None),
         ("x", x.reshape(4, 1, 2), labels), ("x", x.view(np.int32), labels)]
    ):
        summary = write_arrays(tmp_path / str(i), {name: values}, role=Role.TEST, labels=marks)
        digests.add(summary.fingerprint)
    assert len(digests) == 7


def test_a_channel_is_described_as_numpy_does_to_a_bin(tmp_path):
    x = random.gamma(2.0, size=(50, 7, 3)).astype(np.float32)
    found = fingerprint(samples(tmp_path, x)).inputs["x"]
    assert len(found.channels) == 3
    for channel, state in enumerate(found.channels):
        values, summary = x[..., channel].astype(np.float64).ravel(), Distribution.of(state)
        assert (summary.count, *summary.span) == (350, values.min(), values.max())
        assert len(state.places) <= OCCUPIED and summary.width <= values.max() / 32
        fractions = [0.01, 0.5, 0.99]
        np.testing.assert_allclose(
            summary.quantiles(fractions), np.quantile(values, fractions, method="inverted_cdf"), atol=summary.width / 2
        )


def test_bytes_and_the_same_numbers_as_floats_have_the_same_distribution(tmp_path):
    for dtype in (np.uint8, np.int8):
        x = random.integers(-100, 100, (30, 5, 2)).astype(dtype)
        (tmp_path / "f").mkdir(exist_ok=True)
        options = {"scale": -0.5, "offset": 3.0}
        counted = fingerprint(samples(tmp_path, x, **options)).inputs["x"].channels
        summed = fingerprint(samples(tmp_path / "f", x.astype(np.float32), **options)).inputs["x"].channels
        assert counted == summed


def test_values_are_those_that_the_model_sees(tmp_path):
    x = np.array([[0, 255]] * 3, np.uint8)
    [state] = fingerprint(samples(tmp_path, x, scale=2 / 255, offset=-1.0)).inputs["x"].channels
    assert (state.low, state.high, state.counts) == (-1.0, 1.0, (3, 3))


def test_a_constant_channel_has_one_bin(tmp_path):
    [state] = fingerprint(samples(tmp_path, np.full((5, 4), 3.0, np.float32))).inputs["x"].channels
    assert state.counts == (20,) and state.low == state.high == 3.0


def test_a_last_axis_of_many_features_is_one_distribution(tmp_path):
    assert len(fingerprint(samples(tmp_path, random.normal(size=(5, 4, 17)))).inputs["x"].channels) == 1
    assert len(fingerprint(samples(tmp_path, random.normal(size=(5, 4)))).inputs["x"].channels) == 1


def test_labels_are_counted_by_class_or_described_as_values(tmp_path):
    x = random.normal(size=(6, 2))
    classes = fingerprint(samples(tmp_path, x, np.array([0, 2, 2, 2, 0, 10], np.int32)))
    assert classes.label_counts == {"0": 2, "2": 3, "10": 1} and classes.label_values is None
    values = fingerprint(samples(tmp_path, x, np.arange(6, dtype=np.float32)[:, None]))
    assert values.label_counts == {} and values.label_values is not None and values.label_values.counts == (1,) * 6


def test_it_survives_the_trip_through_json(tmp_path):
    found = fingerprint(samples(tmp_path, random.normal(size=(6, 2)), np.arange(6, dtype=np.float32)))
    assert plain.from_plain(json.loads(json.dumps(plain.to_plain(found))), SampleFingerprint) == found
