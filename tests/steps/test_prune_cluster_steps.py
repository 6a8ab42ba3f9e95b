"""Pruning and clustering a real network: what is zero or shared after training, and what is said about it."""

from dataclasses import replace

import numpy as np
import pytest

from mlopt.errors import BadRequest
from mlopt.steps.cluster import Cluster
from mlopt.steps.cluster.apply import cluster
from mlopt.steps.finetune import Finetune
from mlopt.steps.finetune.apply import finetune
from mlopt.steps.prune import Prune
from mlopt.steps.prune.apply import prune
from mlopt.testing import steps
from mlopt.training.objective import trainer


def run(apply, settings, context):
    return apply(settings, context, trainer(settings, context))


def after(done, context):
    """The next step's surroundings."""
    return replace(context, model=done.model, holds=done.holds, work=context.work.with_name("work-1"))


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "block-1x4"])
def test_zeros_are_reached_in_training_and_kept_by_a_later_one(tmp_path, pattern):
    context = steps.context(tmp_path)
    done = run(prune, Prune(epochs=2, batch=16, pattern=pattern), context)
    kernels = done.facts["kernels"]
    assert kernels and all(share == pytest.approx(0.5, abs=0.01) for share in kernels.values())
    masks = {name: hold.mask for name, hold in done.holds.items()}
    later = run(finetune, Finetune(epochs=1, batch=16), after(done, context))
    for name, mask in masks.items():
        array = later.model.weights()[name]
        assert (array[~mask] == 0).all() and np.count_nonzero(array) == mask.sum()
    assert later.holds == done.holds


def test_pruning_says_what_it_gives_and_what_it_left(tmp_path):
    done = run(prune, Prune(epochs=1, batch=16, pattern="2:4"), steps.context(tmp_path))
    assert done.facts["after"]["zipped_int8_bytes"] < done.facts["before"]["zipped_int8_bytes"]
    said = " ".join(done.notes)
    assert "2:4 kernels" in said and "left as they are: conv2d/kernel: 2:4 groups input channels by four" in said
    assert done.facts["sparsity"] == 0.5 > done.facts["sparsity_of_all_kernels"]


def test_pruning_without_training_is_done_at_once(tmp_path):
    context = steps.context(tmp_path)
    before = context.model.weights()["conv2d_1/kernel"]
    done = run(prune, Prune(sparsity=0.75), context)
    found = done.model.weights()["conv2d_1/kernel"]
    kept = found != 0
    assert not done.fits and kept.sum() == 144 and (found[kept] == before[kept]).all()
    assert np.abs(before[~kept]).max() <= np.abs(before[kept]).min()


def test_more_zeros_come_on_top_of_those_there_are(tmp_path):
    context = steps.context(tmp_path)
    first = run(prune, Prune(epochs=1, batch=16), context)
    second = run(prune, Prune(epochs=1, batch=16, sparsity=0.75), after(first, context))
    for name, hold in first.holds.items():
        assert not (second.holds[name].mask & ~hold.mask).any()
    assert second.facts["sparsity"] == pytest.approx(0.75, abs=0.01)


def test_depthwise_kernels_are_left_and_a_network_without_kernels_is_refused(tmp_path):
    done = run(prune, Prune(epochs=1, batch=16), steps.context(tmp_path / "a", "depthwise_convnet"))
    assert not any("depthwise" in name for name in done.facts["kernels"]) and "depthwise" in " ".join(done.notes)
    with pytest.raises(BadRequest, match="no kernel for the pattern block-1x4"):
        run(prune, Prune(epochs=1, pattern="block-1x4"), steps.context(tmp_path / "b", _without_fours()))


def _without_fours():
    import tf_keras

    vector = tf_keras.Input((6,))
    return tf_keras.Model(vector, tf_keras.layers.Dense(3, activation="softmax")(vector))


def test_values_are_shared_after_training_and_by_a_later_one(tmp_path):
    context = steps.context(tmp_path)
    done = run(cluster, Cluster(epochs=2, batch=16, values=8), context)
    assert done.facts["values"] == 8 and "2 batch norms were folded" in done.notes[0]
    later = run(finetune, Finetune(epochs=1, batch=16), after(done, context))
    for name, hold in later.holds.items():
        array = later.model.weights()[name]
        for number in np.unique(hold.ties):
            assert len(np.unique(array[hold.ties == number])) == 1
        assert len(np.unique(array)) <= 8


def test_clustering_without_training_gives_the_means_and_the_rest_untouched(tmp_path):
    context = steps.context(tmp_path)
    folded = context.model.folded().weights()
    done = run(cluster, Cluster(values=4), context)
    for name, array in done.model.weights().items():
        if name not in done.holds:
            np.testing.assert_array_equal(array, folded[name])
            continue
        ties = done.holds[name].ties
        means = {number: folded[name][ties == number].mean() for number in np.unique(ties)}
        np.testing.assert_allclose(array, np.vectorize(means.get)(ties), rtol=1e-5, atol=1e-7)


def test_zeros_survive_clustering(tmp_path):
    context = steps.context(tmp_path)
    pruned = run(prune, Prune(epochs=1, batch=16), context)
    done = run(cluster, Cluster(epochs=1, batch=16, values=8), after(pruned, context))
    for name, hold in pruned.holds.items():
        array = done.model.weights()[name]
        assert (array[~hold.mask] == 0).all() and len(np.unique(array)) <= 8


def test_a_network_with_small_kernels_has_nothing_to_share(tmp_path):
    with pytest.raises(BadRequest, match="too few to share 256 values"):
        run(cluster, Cluster(values=256), steps.context(tmp_path))


def test_two_runs_give_the_same_weights(tmp_path):
    found = [
        run(prune, Prune(epochs=1, batch=16, scope="global"), steps.context(tmp_path / name)).model.weights()
        for name in ("a", "b")
    ]
    for name, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][name])
