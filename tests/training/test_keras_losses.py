"""Losses, augmentation and batches against formulas written out in numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from mlopt.data.materialise import write_arrays
from mlopt.data.samples import Samples
from mlopt.data.splits import Role
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import Hold, LabelLoss
from mlopt.frameworks.keras.fitting import losses, pipeline, teachers
from mlopt.frameworks.keras.fitting.augment import Augment
from mlopt.frameworks.keras.fitting.heads import head_of, scores
from mlopt.frameworks.keras.fitting.objective import _mixed
from mlopt.frameworks.keras.fitting.updates import Held
from mlopt.frameworks.keras.quiet import tf
from mlopt.model import Signature, TensorSpec
from mlopt.outputs import Head, LabelKind

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 3, (6, 5)).astype(np.float32)
OTHERS = RANDOM.normal(0, 3, (6, 5)).astype(np.float32)
CLASSES = np.array([0, 1, 2, 3, 4, 0], np.int32)


def categories(**settings):
    return LabelLoss(output="y", kind=LabelKind.CATEGORIES, **settings)


def test_cross_entropy_with_smoothing_and_class_weights():
    weights = (0.5, 1.0, 2.0, 1.0, 1.5)
    wanted = np.eye(5)[CLASSES] * 0.9 + 0.1 / 5
    expected = -(wanted * log_softmax(LOGITS, -1)).sum(-1) * np.array(weights)[CLASSES]
    loss = categories(smoothing=0.1, class_weights=weights)
    for given_labels in (CLASSES, CLASSES[:, None], np.eye(5, dtype=np.float32)[CLASSES]):
        got = losses.label_loss(loss, tf.constant(LOGITS), Head.PLAIN, tf.constant(given_labels))
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_cross_entropy_is_taken_before_the_softmax_where_probabilities_vanish():
    big = np.array([[200.0, 0.0, -200.0]], np.float32)

    @tf.function(autograph=False)
    def loss(logits):
        output = tf.identity(tf.nn.softmax(logits))
        assert head_of(output) is Head.SOFTMAX
        return losses.label_loss(categories(), output, Head.SOFTMAX, tf.constant([2]))

    assert loss(tf.constant(big)).numpy().tolist() == [400.0]


def test_rounding_with_straight_through_gradients_hides_no_softmax():
    @tf.function(autograph=False)
    def rounded(logits):
        p = tf.nn.softmax(logits)
        return scores(p + tf.stop_gradient(tf.round(p * 255) / 255 - p), Head.SOFTMAX)

    np.testing.assert_array_equal(rounded(tf.constant(LOGITS)), LOGITS)


def test_where_scores_cannot_be_had_probabilities_are_clipped():
    p = softmax(LOGITS, -1)
    np.testing.assert_allclose(
        losses.label_loss(categories(), tf.constant(p), Head.SOFTMAX, tf.constant(CLASSES)),
        -log_softmax(LOGITS, -1)[np.arange(6), CLASSES], rtol=1e-4,
    )
    one_sided = scores(tf.constant([[0.0], [1.0]]), Head.SIGMOID)
    assert np.isfinite(one_sided).all()


def test_binary_cross_entropy_with_class_weights():
    z, y = LOGITS[:, :1], np.array([0, 1, 1, 0, 1, 0], np.int32)
    p = 1 / (1 + np.exp(-z[:, 0]))
    soft = y * 0.8 + 0.1
    expected = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)) * np.where(y, 3.0, 0.5)
    loss = LabelLoss(output="y", kind=LabelKind.BINARY, smoothing=0.2, class_weights=(0.5, 3.0))
    np.testing.assert_allclose(
        losses.label_loss(loss, tf.constant(z), Head.PLAIN, tf.constant(y)), expected, rtol=1e-4
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_teachers_loss_is_the_softened_divergence_times_the_square_of_the_temperature(temperature):
    t, s = log_softmax(OTHERS / temperature, -1), log_softmax(LOGITS / temperature, -1)
    expected = temperature**2 * (np.exp(t) * (t - s)).sum(-1)
    said = teachers.agreed([tf.constant(OTHERS)], [Head.SOFTMAX], Head.SOFTMAX)
    got = losses.teacher_loss(tf.constant(LOGITS), Head.PLAIN, Head.SOFTMAX, said, temperature)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    same = teachers.agreed([tf.constant(LOGITS)], [Head.SOFTMAX], Head.SOFTMAX)
    own = losses.teacher_loss(tf.constant(LOGITS), Head.PLAIN, Head.SOFTMAX, same, temperature)
    np.testing.assert_allclose(own, 0, atol=1e-5)


def test_a_yes_or_no_teacher_is_followed_by_the_divergence_of_two_answers():
    t, s = 1 / (1 + np.exp(-OTHERS[:, :1] / 2)), 1 / (1 + np.exp(-LOGITS[:, :1] / 2))
    expected = 4 * (t * np.log(t / s) + (1 - t) * np.log((1 - t) / (1 - s)))[:, 0]
    got = losses.teacher_loss(tf.constant(LOGITS[:, :1]), Head.PLAIN, Head.SIGMOID, tf.constant(OTHERS[:, :1]), 2.0)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


def test_several_teachers_say_the_mean_of_their_probabilities():
    mean = (softmax(LOGITS, -1) + softmax(OTHERS, -1)) / 2
    both = teachers.agreed([tf.constant(LOGITS), tf.constant(OTHERS)], [Head.SOFTMAX] * 2, Head.SOFTMAX)
    np.testing.assert_allclose(np.exp(both), mean, rtol=1e-5)
    answers = teachers.agreed([tf.constant(LOGITS), tf.constant(OTHERS)], [Head.SIGMOID] * 2, Head.SIGMOID)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-answers.numpy())), (1 / (1 + np.exp(-LOGITS)) + 1 / (1 + np.exp(-OTHERS))) / 2, atol=1e-6
    )


def test_stored_probabilities_are_as_good_as_a_teacher_that_runs():
    stored = softmax(OTHERS, -1).astype(np.float32)
    assert teachers.stored_heads({"y": stored}) == {"y": Head.SOFTMAX}
    said = teachers.agreed([teachers.as_scores(tf.constant(stored), Head.SOFTMAX)], [Head.SOFTMAX], Head.SOFTMAX)
    np.testing.assert_allclose(said, log_softmax(OTHERS, -1), rtol=1e-4, atol=1e-5)
    gone = teachers.as_scores(tf.constant([[1.0, 0.0]], tf.float16), Head.SOFTMAX)
    assert np.isfinite(gone).all()


def test_hints_compare_projected_features_at_the_smaller_size():
    a = RANDOM.normal(size=(2, 4, 4, 3)).astype(np.float32)
    b = RANDOM.normal(size=(2, 2, 2, 5)).astype(np.float32)
    projection = RANDOM.normal(size=(3, 5)).astype(np.float32)
    pooled = a.reshape(2, 2, 2, 2, 2, 3).mean((2, 4))
    expected = np.square(pooled @ projection - b).reshape(2, -1).mean(1)
    np.testing.assert_allclose(losses.hint_loss(a, b, tf.constant(projection)), expected, rtol=1e-4)


def test_attention_compares_maps_of_length_one_whatever_the_channels():
    a = RANDOM.normal(size=(2, 4, 3)).astype(np.float32)
    b = RANDOM.normal(size=(2, 4, 6)).astype(np.float32)
    maps = [np.square(x).sum(-1) for x in (a, b)]
    maps = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in maps]
    np.testing.assert_allclose(losses.attention_loss(a, b), np.square(maps[0] - maps[1]).sum(1), rtol=1e-4)
    np.testing.assert_allclose(losses.attention_loss(a, 3 * a), 0, atol=1e-6)


@given(st.integers(1, 20), st.integers(1, 20))
def test_averaging_covers_every_place_and_keeps_a_constant(size, to):
    matrix = losses.averaging(max(size, to), min(size, to))
    np.testing.assert_allclose(matrix.sum(0), 1, rtol=1e-5)
    assert (matrix.sum(1) > 0).all()


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_holds_are_made_true_as_numpy_would(seed):
    random = np.random.default_rng(seed)
    value = random.normal(size=(4, 6)).astype(np.float32)
    mask, ties = random.random((4, 6)) < 0.7, random.integers(-3, 4, (4, 6)).astype(np.int32)
    held = Held(Hold(mask=mask, ties=ties))
    got = held.kept(tf.constant(value), *held.tensors()).numpy()
    for number in np.unique(ties):
        members = (ties == number) & mask
        if members.any():
            np.testing.assert_allclose(got[members], value[members].mean(), rtol=1e-4, atol=1e-6)
    assert not got[~mask].any()


PICTURE = Signature(
    inputs=(TensorSpec(name="x", shape=(None, 16, 12, 2), dtype="float32", layout="NHWC"),),
    outputs=(TensorSpec(name="y", shape=(None, 5), dtype="float32", layout="NC"),),
)


def augmented(names, x, places=None, *, step=3, seed=1, replica=0, replicas=1):
    augment = Augment(names, PICTURE, seed=seed, batch=len(x))
    inputs, moved, mix = augment({"x": tf.constant(x)}, places, tf.constant(step), replica, replicas)
    return inputs["x"].numpy(), moved, mix


X = RANDOM.normal(5, 1, size=(32, 16, 12, 2)).astype(np.float32)


def test_a_flip_turns_about_half_of_the_samples_around_and_their_labels_with_them():
    got, labels, _ = augmented(["flip"], X, tf.constant(X[..., 0]))
    turned = [np.array_equal(a, b[:, ::-1]) for a, b in zip(got, X, strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(got, X, strict=True)]
    assert all(a != b for a, b in zip(turned, kept, strict=True))
    assert 8 < sum(turned) < 24
    np.testing.assert_array_equal(labels, got[..., 0])


def test_a_shift_moves_by_at_most_an_eighth_and_mirrors_the_edge():
    got, labels, _ = augmented(["shift"], X, tf.constant(X[..., 0]))
    seen = set()
    for a, b in zip(got, X, strict=True):
        wide = np.pad(b, ((2, 2), (1, 1), (0, 0)), mode="reflect")
        found = [(i, j) for i in range(5) for j in range(3) if np.array_equal(a, wide[i : i + 16, j : j + 12])]
        assert len(found) == 1
        seen.add(found[0])
    assert {i for i, _ in seen} == {0, 1, 2, 3, 4}
    assert {j for _, j in seen} == {0, 1, 2}
    np.testing.assert_array_equal(labels, got[..., 0])


@pytest.mark.parametrize(("name", "axis", "most"), [("time-mask", 1, 2), ("frequency-mask", 2, 1)])
def test_a_mask_puts_the_mean_in_one_span(name, axis, most):
    got, _, _ = augmented([name], X)
    for a, b in zip(got, X, strict=True):
        changed = (a != b).any(axis=tuple(i for i in range(3) if i != axis - 1))
        places = np.flatnonzero(changed)
        assert len(places) <= most
        assert not len(places) or places[-1] - places[0] == len(places) - 1
        np.testing.assert_allclose(a[a != b], b.mean(), rtol=1e-5)


def test_a_time_shift_repeats_the_edge():
    got, _, _ = augmented(["time-shift"], X)
    for a, b in zip(got, X, strict=True):
        wide = np.pad(b, ((2, 2), (0, 0), (0, 0)), mode="edge")
        assert any(np.array_equal(a, wide[i : i + 16]) for i in range(5))


def test_noise_is_a_twentieth_of_each_sample():
    x = X * np.linspace(1, 9, 32, dtype=np.float32)[:, None, None, None]
    got, _, _ = augmented(["noise"], x)
    added = (got - x).reshape(32, -1).std(1) / x.reshape(32, -1).std(1)
    np.testing.assert_allclose(added, 0.05, rtol=0.2)


def test_mixup_mixes_each_sample_with_the_one_before_and_labels_likewise():
    got, _, mix = augmented(["mixup"], X)
    share = mix.share.numpy()
    assert ((share >= 0) & (share <= 1)).all()
    assert share.std() > 0.2
    expected = share[:, None, None, None] * X + (1 - share)[:, None, None, None] * np.roll(X, 1, axis=0)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    said = log_softmax(RANDOM.normal(size=(32, 5)), -1).astype(np.float32)
    mixed = share[:, None] * np.exp(said) + (1 - share)[:, None] * np.roll(np.exp(said), 1, axis=0)
    np.testing.assert_allclose(np.exp(_mixed(tf.constant(said), Head.SOFTMAX, mix)), mixed, rtol=1e-4)


@pytest.mark.parametrize("name", ["flip", "shift", "noise", "time-shift", "time-mask", "frequency-mask"])
def test_what_happens_to_a_sample_is_decided_by_seed_step_and_place(name):
    first, _, _ = augmented([name], X)
    np.testing.assert_array_equal(first, augmented([name], X)[0])
    assert not np.array_equal(first, augmented([name], X, step=4)[0])
    assert not np.array_equal(first, augmented([name], X, seed=2)[0])
    halves = [augmented([name], X[16 * r : 16 * r + 16], replica=r, replicas=2)[0] for r in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves), first)


@pytest.mark.parametrize(("names", "message"), [
    (("flop",), "there is no augmentation flop"), (("flip",), "flip needs an image input"),
    (("time-mask",), "time along its first axis"),
])
def test_an_augmentation_that_does_not_fit_is_refused(names, message):
    vector = Signature(
        inputs=(TensorSpec(name="x", shape=(None, 16), dtype="float32", layout="NC"),), outputs=PICTURE.outputs
    )
    with pytest.raises(BadRequest, match=message):
        Augment(names, vector, seed=0, batch=4)


def write(folder, count=23, **meta):
    x = RANDOM.integers(0, 255, (count, 3), dtype=np.uint8)
    write_arrays(folder, {"x": x}, role=Role.TEST, labels=np.arange(count, dtype=np.int32), **meta)
    return Samples.open(folder)


def feed(samples, **settings):
    rows = pipeline.Rows.of(samples, {}, with_labels=True)
    return pipeline.Feed(rows=rows, batch=4, places=slice(0, 4), seed=7, **settings)


def test_every_sample_comes_at_most_once_an_epoch_in_another_order_each_time(tmp_path):
    one = feed(write(tmp_path / "s"))
    epochs = []
    for epoch in range(2):
        seen = []
        for first, count in ((0, 2), (2, 3)):
            one.ask(pipeline.Fetch(epoch * 5 + first, count))
            _, tree = one.take()
            assert tree["inputs"]["x"].shape == (count, 4, 3)
            seen += tree["labels"].numpy().ravel().tolist()
        epochs.append(seen)
    one.close()
    assert all(len(set(seen)) == len(seen) == 20 for seen in epochs)
    assert epochs[0] != epochs[1]


def test_an_echoed_batch_comes_so_many_times_in_a_row_however_steps_are_fetched(tmp_path):
    samples = write(tmp_path / "s")
    plain, echoed, alone = feed(samples), feed(samples, echo=3), feed(samples, echo=3)
    assert (plain.steps_per_epoch, echoed.steps_per_epoch) == (5, 15)

    def labels(one, *fetches):
        found = []
        for fetch in fetches:
            one.ask(fetch)
            found.append(one.take()[1]["labels"].numpy())
        one.close()
        return np.concatenate(found)

    once = labels(plain, pipeline.Fetch(5, 5))                              # the second epoch
    whole = labels(echoed, pipeline.Fetch(15, 15))
    np.testing.assert_array_equal(whole, np.repeat(once, 3, axis=0))
    parts = labels(alone, pipeline.Fetch(15, 2), pipeline.Fetch(17, 5), pipeline.Fetch(22, 8))
    np.testing.assert_array_equal(parts, whole)
    assert "each batch 3 times" in pipeline.facts(echoed, waited_s=0.0, seconds=1.0, samples=1).applied


def test_samples_from_a_disk_and_from_memory_are_the_same(tmp_path, monkeypatch):
    samples = write(tmp_path / "s")
    rows = np.array([[5, 2], [22, 0]])
    held = pipeline.Rows.of(samples, {}, with_labels=True)
    monkeypatch.setattr(pipeline, "available_memory", lambda: 0)
    mapped = pipeline.Rows.of(samples, {}, with_labels=True)
    assert (held.in_memory, mapped.in_memory) == (True, False)
    for one in (held, mapped):
        tree = one.take(rows)
        np.testing.assert_array_equal(tree["inputs"]["x"], samples.inputs["x"][rows])
        assert tree["labels"].tolist() == rows.tolist()


@pytest.mark.parametrize("meta", [{}, {"scale": 1 / 127.5, "offset": -1.0}])
def test_tensors_are_seen_as_arrays_are(tmp_path, meta):
    samples = write(tmp_path / "s", **meta)
    stored = samples.inputs["x"][:9]
    np.testing.assert_array_equal(pipeline.seen(samples, "x", tf.constant(stored)), samples.as_seen("x", stored))


def test_waiting_is_told_with_what_would_help(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "available_memory", lambda: 0)
    one = feed(write(tmp_path / "s"))
    waiting = pipeline.facts(one, waited_s=3.0, seconds=10.0, samples=500)
    assert (waiting.waiting, waiting.samples_per_second) == (0.3, 50.0)
    assert "prefetch" in waiting.applied
    assert "cached in memory" not in waiting.applied
    assert any(advice.startswith("cache in memory") for advice in waiting.advice)
    assert pipeline.facts(one, waited_s=0.1, seconds=10.0, samples=500).advice == ()
    one.close()


def test_a_fetch_that_fails_fails_the_step_that_waits_for_it(tmp_path):
    one = feed(write(tmp_path / "s"))
    one.ask(pipeline.Fetch(3, 40))
    with pytest.raises(ValueError, match="reshape"):
        one.take()
    one.close()
