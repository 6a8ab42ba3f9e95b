"""What labels mean for a model, and what is said when they cannot be its labels."""

from pathlib import Path

import numpy as np
import pytest

from mlopt.data.labels import Labels, interpret, say_nothing_of_the_output
from mlopt.data.readers.python import ArraySource
from mlopt.errors import DataMismatch
from mlopt.model import Signature, TensorSpec
from mlopt.outputs import LabelKind


def signature(*output: int | None, given: tuple[int, ...] = (2,), names: tuple[str, ...] = ("out",)) -> Signature:
    return Signature(
        inputs=(TensorSpec(name="x", shape=(None, *given), dtype="float32", layout="N?"),),
        outputs=tuple(TensorSpec(name=n, shape=(None, *output), dtype="float32", layout="N?") for n in names),
    )


def read(values: np.ndarray, model: Signature) -> tuple[Labels, np.ndarray]:
    labels = interpret(ArraySource("data", {"y": values}), "y", model)
    return labels, labels.convert(values.astype(object) if values.dtype.kind == "U" else values)


def test_whole_numbers_are_classes():
    for dtype in ("int8", "int64", "uint8", "float32"):
        labels, stored = read(np.array([2, 0, 1], dtype), signature(3))
        assert labels.kind is LabelKind.CATEGORIES and stored.dtype == np.int32 and stored.tolist() == [2, 0, 1]
        assert labels.per_row is not None and labels.per_row.tolist() == [2, 0, 1]


def test_a_column_of_one_value_a_row_is_the_same_as_a_plain_one():
    labels, stored = read(np.array([[2], [0]]), signature(3))
    assert stored.tolist() == [2, 0] and labels.per_row is not None


def test_one_hot_rows_become_class_numbers_and_that_is_told():
    labels, stored = read(np.eye(3, dtype=np.float32)[[2, 0, 1]], signature(3))
    assert labels.kind is LabelKind.CATEGORIES and stored.tolist() == [2, 0, 1]
    assert labels.per_row is not None and labels.per_row.tolist() == [2, 0, 1]
    assert any("one-hot" in note for note in labels.notes)


def test_rows_that_are_not_one_hot_stay_values_and_that_is_told():
    soft = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    labels, stored = read(soft, signature(3))
    assert labels.kind is LabelKind.VALUES and stored.dtype == np.float32 and stored.tolist() == soft.tolist()
    assert any("not one-hot" in note for note in labels.notes)


def test_one_output_with_zeros_and_ones_is_two_classes():
    labels, stored = read(np.array([0, 1, 1]), signature(1))
    assert labels.kind is LabelKind.BINARY and stored.tolist() == [0, 1, 1]


@pytest.mark.parametrize("values", [[1.5, 2.0], [3, 40]])
def test_one_output_with_other_numbers_is_a_value(values):
    labels, stored = read(np.array(values), signature(1))
    assert labels.kind is LabelKind.VALUES and stored.shape == (2, 1) and stored.ravel().tolist() == values


def test_masks_are_classes_in_every_place():
    mask = np.array([[[0, 1], [1, 0]]], np.uint8)
    for given in (mask, mask[..., None], np.eye(2)[mask]):
        labels, stored = read(given, signature(2, 2, 2))
        assert labels.kind is LabelKind.CATEGORIES and stored.tolist() == mask.tolist() and labels.per_row is None
    labels, stored = read(mask[..., None], signature(2, 2, 1))
    assert labels.kind is LabelKind.BINARY and stored.tolist() == mask.tolist()


def test_words_are_numbered_in_sorted_order_and_that_is_told():
    labels, stored = read(np.array(["dog", "cat", "dog"]), signature(2))
    assert labels.class_names == ("cat", "dog") and stored.tolist() == [1, 0, 1]
    assert any("sorted order" in note for note in labels.notes)


def test_digits_written_as_text_are_numbers():
    _, stored = read(np.array(["10", "2", "0"]), signature(11))
    assert stored.tolist() == [10, 2, 0]


def test_labels_outside_say_how_many_which_and_the_range():
    with pytest.raises(DataMismatch, match=r"class numbers 0 to 2; the data has 3 of 5 labels outside.*: -1, 7\."):
        read(np.array([0, -1, 7, 7, 2]), signature(3))
    with pytest.raises(DataMismatch, match=r"1 of 3 labels outside, in column y: 12"):
        read(np.array(["0", "12", "1"]), signature(3))


def test_labels_that_count_from_one_are_recognised():
    with pytest.raises(DataMismatch, match="count from 1: subtract 1"):
        read(np.array([1, 2, 3]), signature(3))


def test_more_words_than_classes_are_refused():
    with pytest.raises(DataMismatch, match=r"at most 2 classes.*3 different words"):
        read(np.array(["a", "b", "c"]), signature(2))


def test_fractions_are_no_classes():
    with pytest.raises(DataMismatch, match=r"class numbers 0 to 2.*fractions in column y \(the first one in row 1\)"):
        read(np.array([0.0, 0.5, 1.0]), signature(3))


def test_missing_labels_are_counted():
    with pytest.raises(DataMismatch, match=r"NaN or infinite labels in 2 rows, first in row 1"):
        read(np.array([0.0, np.nan, 1.0, np.inf]), signature(1))


def test_labels_of_no_outputs_shape_are_refused_with_both():
    with pytest.raises(DataMismatch, match=r"labels for out: float32 \[N, 3\]; the data has labels y: int64 \[N, 4\]"):
        read(np.zeros((2, 4), int), signature(3))


def test_with_several_outputs_the_one_named_like_the_column_is_meant_and_told():
    model = signature(3, names=("first", "y"))
    labels, _ = read(np.array([0, 2]), model)
    assert labels.output == "y" and any("output y" in note for note in labels.notes)


def test_few_marks_beside_an_autoencoder_group_samples_and_zeros_and_ones_mark_anomalies():
    rebuilding = signature(24, given=(24,))
    assert say_nothing_of_the_output(ArraySource("d", {"y": np.array([0, 1, 2])}), "y", rebuilding)
    assert not say_nothing_of_the_output(ArraySource("d", {"y": np.array([0, 1, 1])}), "y", rebuilding)
    assert not say_nothing_of_the_output(ArraySource("d", {"y": np.arange(24)}), "y", rebuilding)
    assert not say_nothing_of_the_output(ArraySource("d", {"y": np.array([0, 1])}), "y", signature(24))


def test_a_label_name_list_of_another_length_is_told(tmp_path: Path):
    from PIL import Image

    from mlopt.data.opening import open_source

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name / "1.png")
    labels = interpret(open_source(tmp_path), "label", signature(10))
    assert labels.notes == ("2 class names for 10 outputs: label i is taken for output i",)


@pytest.mark.parametrize("digits", [19, 5000])
def test_digits_that_are_no_class_number_are_words(digits):
    labels, stored = read(np.array(["9" * digits, "1", "9" * digits]), signature(3))
    assert labels.class_names == ("1", "9" * digits) and stored.tolist() == [1, 0, 1]
