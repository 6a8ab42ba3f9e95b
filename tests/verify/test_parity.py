import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from mlopt.artifact import Contract
from mlopt.data.samples import Samples
from mlopt.errors import MloptError
from mlopt.model import Signature, SourceModel, TensorSpec
from mlopt.verify import compare, identify_task, measure_source, parity, prove


def spec(name, shape):
    return TensorSpec(name=name, shape=(None, *shape), dtype="float32", layout="N" + "?" * len(shape))


def evidence_of(reference, output, *, labels=None, activation="softmax", input_shape=(7, 7), inputs=None, **rest):
    reference = {"y": np.asarray(reference, dtype=np.float32)}
    signature = Signature(inputs=(spec("x", input_shape),), outputs=(spec("y", reference["y"].shape[1:]),))
    task = identify_task(signature, (activation,), reference, labels)
    feed = None if inputs is None else lambda start, stop: {"x": inputs[start:stop]}
    outputs = {"y": np.asarray(output, dtype=np.float32)}
    return compare(reference, outputs, task=task, labels=labels, inputs=feed, runtime="r", samples="test", **rest)


@pytest.fixture
def classified():
    random = np.random.default_rng(0)
    reference = random.dirichlet(np.ones(4), 300).astype(np.float32)
    output = reference + random.normal(0, 0.08, reference.shape).astype(np.float32)
    labels = np.where(random.random(300) < 0.8, reference.argmax(1), random.integers(0, 4, 300))
    return reference, output, labels


def test_errors_and_signal_to_noise_worked_by_hand():
    found = evidence_of([[3.0, 4.0], [0.0, 5.0]], [[3.0, 4.5], [0.0, 4.0]], activation="linear")
    assert found.max_abs_error == 1.0
    assert found.mean_abs_error == 1.5 / 4
    assert found.sqnr_db == pytest.approx(10 * np.log10(50 / 1.25))
    assert found.agreement == 0.5          # 0.5 / 5 is a tenth and agrees, 1 / 5 does not


def test_equal_outputs_are_exact():
    found = evidence_of([[0.0, 0.0], [1.0, 2.0]], [[0.0, 0.0], [1.0, 2.0]], activation="linear")
    assert (found.max_abs_error, found.sqnr_db, found.agreement) == (0.0, float("inf"), 1.0)


def test_class_evidence_equals_what_numpy_and_sklearn_count(classified):
    reference, output, labels = classified
    found = evidence_of(reference, output, labels=labels)
    source_right, right = reference.argmax(1) == labels, output.argmax(1) == labels
    assert (found.metric, found.n) == ("top1", 300)
    assert found.value == right.mean()
    assert found.drop == pytest.approx(source_right.mean() - right.mean())
    assert found.agreement == (reference.argmax(1) == output.argmax(1)).mean()
    assert np.array_equal(found.confusion, confusion_matrix(labels, output.argmax(1)))
    cat = found.classes[2]
    assert (cat.name, cat.n) == ("2", (labels == 2).sum())
    assert cat.value == pytest.approx(right[labels == 2].mean())
    assert cat.drop == pytest.approx((source_right.astype(int) - right)[labels == 2].mean())


def test_reading_in_small_chunks_changes_nothing(classified, monkeypatch):
    reference, output, labels = classified
    whole = evidence_of(reference, output, labels=labels, slices={"kind": labels % 2})
    monkeypatch.setattr(parity, "_CHUNK_BYTES", 8 * 4 * 7)
    pieces = evidence_of(reference, output, labels=labels, slices={"kind": labels % 2})
    assert pieces.classes == whole.classes and pieces.slices == whole.slices and pieces.confusion == whole.confusion
    assert (pieces.value, pieces.max_abs_error) == (whole.value, whole.max_abs_error)
    assert pieces.sqnr_db == pytest.approx(whole.sqnr_db, rel=1e-12)


def test_nan_and_infinity_are_failures_and_not_agreement(classified):
    reference, output, labels = classified
    output[5, 0], output[9, 1] = np.nan, np.inf
    found = evidence_of(reference, output, labels=labels)
    assert found.nonfinite == 2 and found.outputs[0].nonfinite == 2
    assert np.isnan(found.max_abs_error) and np.isnan(found.sqnr_db)
    same = reference.argmax(1) == np.nan_to_num(output, nan=-9, posinf=9).argmax(1)
    same[[5, 9]] = False
    assert found.agreement == same.mean()
    assert sum(map(sum, found.confusion)) == 298      # a prediction that is none stands in no column


def test_the_worst_class_needs_enough_samples_and_has_a_wider_interval():
    # class 0 keeps 100 of 100, class 1 loses 12 of 60, class 2 loses all of its 5 samples
    labels = np.repeat([0, 1, 2], [100, 60, 5])
    reference, output = np.eye(3)[labels], np.eye(3)[labels]
    output[100:112] = [1, 0, 0]
    output[160:] = [1, 0, 0]
    found = evidence_of(reference, output, labels=labels, class_names=("a", "b", "c"))
    assert [c.drop for c in found.classes] == [0.0, 0.2, 1.0]
    assert (found.worst_class.name, found.worst_class.drop) == ("b", 0.2)
    plain, widened = found.classes[1].drop_interval, found.worst_class.drop_interval
    assert widened.low < plain.low and widened.high > plain.high


def test_slices_compare_the_metric_on_their_own_samples(classified):
    reference, output, labels = classified
    device = np.where(np.arange(300) < 90, "phone", "tablet")
    found = evidence_of(reference, output, labels=labels, slices={"device": device})
    phone = next(s for s in found.slices if s.name == "device=phone")
    assert phone.n == 90 and phone.value == (output.argmax(1) == labels)[:90].mean()


def test_slices_without_labels_are_named_as_unused(classified):
    reference, output, _ = classified
    found = evidence_of(reference, output, slices={"device": np.zeros(300)})
    assert found.slices == () and any("device are unused" in note for note in found.notes)


def test_a_column_of_many_values_keeps_the_most_frequent_and_says_so(classified):
    reference, output, labels = classified
    found = evidence_of(reference, output, labels=labels, slices={"user": np.r_[np.zeros(50), np.arange(250)]})
    assert len(found.slices) == 100 and found.slices[0].n == 51
    assert "slice user has 250 values" in found.notes[-1]


def test_more_than_a_hundred_classes_have_no_confusion_matrix_and_list_the_worst():
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(150), 4)
    reference = np.eye(150)[labels]
    output = np.eye(150)[np.where(random.random(600) < 0.2, 0, labels)]
    found = evidence_of(reference, output, labels=labels)
    assert found.confusion == () and len(found.classes) == 100
    drops = [c.drop for c in found.classes]
    assert drops == sorted(drops, reverse=True)


def test_a_dense_output_counts_samples_and_not_positions():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, (40, 5, 5))
    reference = np.eye(3)[labels] + random.normal(0, 0.4, (40, 5, 5, 3))
    output = reference + random.normal(0, 0.3, reference.shape)
    found = evidence_of(reference, output, labels=labels)
    hits = (output.astype(np.float32).argmax(-1) == labels)
    assert found.n == 40 and found.value == pytest.approx(hits.mean())
    assert found.agreement == pytest.approx((output.argmax(-1) == reference.argmax(-1)).mean())
    one = found.classes[1]
    assert one.value == pytest.approx(hits[labels == 1].mean())
    assert one.drop_interval.low < one.drop < one.drop_interval.high
    assert sum(map(sum, found.confusion)) == 1000


def test_yes_or_no_scores_are_measured_by_auc_and_agree_on_the_same_side():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    reference = (0.3 * labels + 0.7 * random.random(200))[:, None]
    output = np.clip(reference + random.normal(0, 0.1, (200, 1)), 0, 1)
    found = evidence_of(reference, output, labels=labels, activation="sigmoid")
    single = output.astype(np.float32)
    wanted, source = roc_auc_score(labels, single), roc_auc_score(labels, reference.astype(np.float32))
    assert (found.value, found.drop) == (pytest.approx(wanted), pytest.approx(source - wanted))
    assert found.interval.low < wanted < found.interval.high
    assert found.drop_interval.low < found.drop < found.drop_interval.high
    assert found.drop_interval.high - found.drop_interval.low < found.interval.high - found.interval.low   # paired
    assert found.agreement == ((reference > 0.5) == (output > 0.5)).mean()
    assert np.array_equal(found.confusion, confusion_matrix(labels, single[:, 0] > 0.5))


def test_with_one_class_the_auc_is_unknown_and_not_perfect():
    found = evidence_of([[0.2], [0.9]], [[0.3], [0.8]], labels=np.array([1, 1]), activation="sigmoid")
    assert found.metric == "auc" and np.isnan(found.value) and np.isnan(found.drop)


def test_an_autoencoder_with_marked_anomalies_is_measured_by_its_reconstruction_error():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(120, 6)).astype(np.float32)
    labels = np.arange(120) % 2
    reference = inputs + random.normal(0, 0.2 + 0.2 * labels[:, None], inputs.shape)
    output = reference + random.normal(0, 0.2, inputs.shape)
    found = evidence_of(reference, output, labels=labels, activation="linear", input_shape=(6,), inputs=inputs)
    wanted = roc_auc_score(labels, ((output.astype(np.float32) - inputs) ** 2).mean(axis=1))
    assert found.metric == "auc" and found.value == pytest.approx(wanted)
    assert any("normal and anomalous" in note for note in found.notes)


def test_several_outputs_agree_only_together_and_the_worst_error_is_told():
    signature = Signature(inputs=(spec("x", (9,)),), outputs=(spec("kind", (2,)), spec("size", (1,))))
    reference = {"kind": np.array([[1, 0], [0, 1], [1, 0.0]]), "size": np.array([[1.0], [2.0], [4.0]])}
    outputs = {"kind": np.array([[1, 0], [1, 0], [0.9, 0.0]]), "size": np.array([[1.0], [2.0], [8.0]])}
    task = identify_task(signature, ("softmax", "linear"), reference)
    found = compare(reference, outputs, task=task, runtime="r", samples="test")
    assert found.agreement == pytest.approx(1 / 3)
    assert [o.agreement for o in found.outputs] == pytest.approx([2 / 3, 2 / 3])
    assert found.max_abs_error == 4.0 and found.sqnr_db == min(o.sqnr_db for o in found.outputs)


def test_no_samples_leave_everything_unknown():
    found = evidence_of(np.zeros((0, 3)), np.zeros((0, 3)), labels=np.zeros(0, dtype=int))
    assert found.n == 0
    assert all(np.isnan(v) for v in (found.value, found.drop, found.agreement, found.max_abs_error, found.sqnr_db))


def test_the_baseline_is_the_file_that_equals_the_source(classified):
    reference, _, labels = classified
    signature = Signature(inputs=(spec("x", (7,)),), outputs=(spec("y", (4,)),))
    task = identify_task(signature, ("softmax",), {"y": reference}, labels)
    baseline = measure_source({"y": reference}, task=task, samples="test", labels=labels)
    same = evidence_of(reference, reference, labels=labels)
    assert (baseline.value, baseline.interval, baseline.confusion) == (same.value, same.interval, same.confusion)
    assert baseline.metric == "top1"


@dataclass
class Doubling:
    """A runtime that is a function: y = 2 x, as its own reference, or whatever it is told to do."""

    contract: Contract = Contract(inputs=(), outputs=())  # noqa: RUF009  # frozen
    output: str = "y"
    width: int = 3
    error: Exception | None = None

    def predict(self, inputs):
        if self.error:
            raise self.error
        return {self.output: 2 * inputs["x"][:, : self.width]}

    def stage(self, inputs):
        raise AssertionError("proving times nothing")

    def invoke(self):
        raise AssertionError("proving times nothing")


@pytest.fixture
def samples(tmp_path):
    (tmp_path / "inputs").mkdir()
    np.save(tmp_path / "inputs/x.npy", np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32))
    (tmp_path / "meta.json").write_text(json.dumps({"count": 600, "scale": 1.0, "offset": 0.0, "origin": "given"}))
    return Samples.open(tmp_path)


@pytest.fixture
def source():
    signature = Signature(inputs=(spec("x", (3,)),), outputs=(spec("y", (3,)),))
    return SourceModel(
        path=Path("m.h5"), framework="keras", container="keras-h5", loaded_by="tf_keras", digest="", file_bytes=0,
        weight_bytes=0, optimizer_bytes=0, parameters=0, macs=0, signature=signature, output_activations=("linear",),
        layers=(),
    )


def test_proving_runs_all_samples_in_batches(samples, source):
    reference = {"y": 2 * samples.inputs["x"]}
    found = prove(Doubling(), samples, reference, source=source, runtime_name="twice", samples_name="test").evidence
    assert (found.runtime, found.samples, found.n, found.agreement) == ("twice", "test", 600, 1.0)


def test_what_the_runtime_raises_passes_through(samples, source):
    with pytest.raises(MloptError, match="out of memory"):
        prove(Doubling(error=MloptError("out of memory")), samples, {"y": samples.inputs["x"]}, source=source,
              runtime_name="twice", samples_name="test")


@pytest.mark.parametrize(("runtime", "message"), [
    (Doubling(output="z"), "twice gave no output y; it gave z"),
    (Doubling(width=2), r"twice gave y with shape \(256, 2\); the source model gives \(256, 3\)"),
])
def test_outputs_that_are_not_the_sources_are_refused(samples, source, runtime, message):
    with pytest.raises(MloptError, match=message):
        prove(runtime, samples, {"y": samples.inputs["x"]}, source=source, runtime_name="twice", samples_name="test")
