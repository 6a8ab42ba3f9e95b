"""Batches of samples: in an order that (seed, epoch) decides, read ahead of the steps."""

import numpy as np
import pytest

from mlopt.data.materialise import write_arrays
from mlopt.data.samples import Samples
from mlopt.data.splits import Role
from mlopt.frameworks.stepper import Steps
from mlopt.training import feed

RANDOM = np.random.default_rng(0)


def write(folder, count=23, **meta):
    x = RANDOM.integers(0, 255, (count, 3), dtype=np.uint8)
    write_arrays(folder, {"x": x}, role=Role.TEST, labels=np.arange(count, dtype=np.int32), **meta)
    return Samples.open(folder)


def fed(samples, **settings):
    rows = feed.Rows.of(samples, {}, with_labels=True)
    return feed.Feed(rows=rows, place=lambda batches: batches, batch=4, places=slice(0, 4), seed=7, **settings)


def test_every_sample_comes_at_most_once_an_epoch_in_another_order_each_time(tmp_path):
    one = fed(write(tmp_path / "s"))
    epochs = []
    for epoch in range(2):
        seen = []
        for first, count in ((0, 2), (2, 3)):
            one.ask(Steps(epoch * 5 + first, count))
            _, found = one.take()
            assert found.inputs["x"].shape == (count, 4, 3)
            seen += found.labels.ravel().tolist()
        epochs.append(seen)
    one.close()
    assert all(len(set(seen)) == len(seen) == 20 for seen in epochs)
    assert epochs[0] != epochs[1]


def test_an_echoed_batch_comes_so_many_times_in_a_row_however_steps_are_fetched(tmp_path):
    samples = write(tmp_path / "s")
    plain, echoed, alone = fed(samples), fed(samples, echo=3), fed(samples, echo=3)
    assert (plain.steps_per_epoch, echoed.steps_per_epoch) == (5, 15)

    def labels(one, *fetches):
        found = []
        for fetch in fetches:
            one.ask(fetch)
            found.append(one.take()[1].labels)
        one.close()
        return np.concatenate(found)

    once = labels(plain, Steps(5, 5))                              # the second epoch
    whole = labels(echoed, Steps(15, 15))
    np.testing.assert_array_equal(whole, np.repeat(once, 3, axis=0))
    parts = labels(alone, Steps(15, 2), Steps(17, 5), Steps(22, 8))
    np.testing.assert_array_equal(parts, whole)
    assert "each batch 3 times" in feed.facts(echoed, waited_s=0.0, seconds=1.0, samples=1).applied


def test_samples_from_a_disk_and_from_memory_are_the_same(tmp_path, monkeypatch):
    samples = write(tmp_path / "s")
    rows = np.array([[5, 2], [22, 0]])
    held = feed.Rows.of(samples, {}, with_labels=True)
    monkeypatch.setattr(feed, "available_memory", lambda: 0)
    mapped = feed.Rows.of(samples, {}, with_labels=True)
    assert (held.in_memory, mapped.in_memory) == (True, False)
    for one in (held, mapped):
        found = one.take(rows)
        np.testing.assert_array_equal(found.inputs["x"], samples.inputs["x"][rows])
        assert found.labels.tolist() == rows.tolist()


def test_waiting_is_told_with_what_would_help(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "available_memory", lambda: 0)
    one = fed(write(tmp_path / "s"))
    waiting = feed.facts(one, waited_s=3.0, seconds=10.0, samples=500)
    assert (waiting.waiting, waiting.samples_per_second) == (0.3, 50.0)
    assert "prefetch" in waiting.applied
    assert "cached in memory" not in waiting.applied
    assert any(advice.startswith("cache in memory") for advice in waiting.advice)
    assert feed.facts(one, waited_s=0.1, seconds=10.0, samples=500).advice == ()
    one.close()


def test_a_fetch_that_fails_fails_the_step_that_waits_for_it(tmp_path):
    one = fed(write(tmp_path / "s"))
    one.ask(Steps(3, 40))
    with pytest.raises(ValueError, match="reshape"):
        one.take()
    one.close()
