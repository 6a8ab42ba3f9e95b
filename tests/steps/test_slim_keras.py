"""Slimming on real Keras models: every tiny one is cut, rebuilt as worked out on paper, and computes the same."""

from dataclasses import replace

import numpy as np
import pytest

from mlopt.channels import costs
from mlopt.channels.coupling import couple
from mlopt.channels.resizing import resized
from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.frameworks import open_trainable
from mlopt.location import ModelLocation
from mlopt.steps.protocol import Context
from mlopt.steps.slim import Slim
from mlopt.steps.slim.apply import slim
from mlopt.steps.slim.proof import prove
from mlopt.testing.tiny import TINY, TinyModel, build, inputs_for
from mlopt.training.objective import trainer

# by name of the tiny model: groups that can be cut, as (channels, convolutions that make them), worked out by hand
FREE = {
    "small_convnet": [(8, 2)],
    "depthwise_convnet": [(8, 1), (12, 1)],
    "autoencoder": [(16, 1), (4, 1), (16, 1)],
    "streaming_conv1d": [(8, 1), (8, 1)],              # a separable convolution is a depthwise one and a 1x1
    "two_inputs_two_outputs": [(4, 1), (4, 1)],
    "small_transformer": [(16, 1)],                     # inside the feed-forward pair; attention and sums are pinned
    "mobile_block": [(8, 2), (4, 1), (6, 1), (6, 1)],
}


@pytest.fixture
def opened(tmp_path):
    def open_tiny(name):
        model = build(name)
        model.save(tmp_path / "tiny.h5")
        return open_trainable(ModelLocation(tmp_path / "tiny.h5", custom_objects=())), inputs_for(TinyModel(model), 4)

    return open_tiny


@pytest.mark.parametrize("name", sorted(TINY))
def test_groups_of_tiny_models_and_the_rebuilt_network_computes_the_same(opened, name):
    model, inputs = opened(name)
    groups = couple(model.network)
    assert sorted((g.units, len(g.producers)) for g in groups.free) == sorted(FREE[name])
    random = np.random.default_rng(0)
    dropped = {g.name: np.sort(random.permutation(g.units)[: g.units // 2]) for g in groups.free}
    small = model.narrowed(groups.kept(dropped))
    assert small.network == resized(model.network, groups.kept(dropped))
    assert prove(model, small, groups, dropped, inputs) < 1e-5
    widths = np.array([g.units - len(dropped[g.name]) for g in groups.free])
    assert small.network.parameters == float(costs.parameters(groups)(widths))
    assert sum(w.size for w in small.weights().values()) == small.network.parameters
    if groups.free:
        assert small.network.macs < model.network.macs


def test_a_keras_model_is_slimmed_kept_and_found_again(opened, tmp_path):
    model, _ = opened("small_convnet")
    random = np.random.default_rng(0)
    for part, count in (("train", 64), ("validation", 16)):
        images = random.normal(size=(count, 8, 8, 3)).astype(np.float32)
        write_arrays(tmp_path / part, {"image": images}, role=Role(part), labels=np.arange(count) % 4)
    context = Context(
        model=model, source=ModelLocation(tmp_path / "tiny.h5"), train=tmp_path / "train",
        validation=tmp_path / "validation", work=tmp_path / "work", seed=0, on_event=lambda event: None,
        open_model=open_trainable,
    )
    settings = Slim(parameters=0.7, multiple=1, rounds=2)
    done = slim(settings, context, None)
    assert 0.6 < done.model.network.parameters / model.network.parameters <= 0.7
    again = slim(settings, replace(context, model=model), None)         # every round was finished: read from the folder
    for name, array in done.model.weights().items():
        np.testing.assert_array_equal(again.model.weights()[name], array)


def test_taylor_finds_the_channels_that_nothing_depends_on(opened, tmp_path):
    """Channels whose readers ignore them change no loss, whatever their own weights."""
    model, _ = opened("depthwise_convnet")
    (kernel,) = [w for w in model.network.weights().values() if w.shape == (12, 3)]
    (point,) = [w for w in model.network.weights().values() if w.shape == (1, 1, 8, 12)]
    weights = model.weights()
    weights[kernel.name][[1, 4, 7, 10]] = 0
    weights[point.name][..., [1, 4, 7, 10]] *= 100
    model.set_weights({name: weights[name] for name in (kernel.name, point.name)})
    features = np.random.default_rng(0).normal(size=(64, 12, 6, 1)).astype(np.float32)
    for part in ("train", "validation"):
        write_arrays(tmp_path / part, {"features": features}, role=Role(part), labels=np.arange(64) % 3)
    context = Context(
        model=model, source=ModelLocation(tmp_path / "tiny.h5"), train=tmp_path / "train",
        validation=tmp_path / "validation", work=tmp_path / "work", seed=0, on_event=lambda event: None,
        open_model=open_trainable,
    )
    done = slim(Slim(macs=0.89, multiple=4, least=0.6), context, None)      # 8 of 12 stay, and all of the first 8
    left = done.model.weights()
    np.testing.assert_array_equal(left[kernel.name], np.delete(weights[kernel.name], [1, 4, 7, 10], axis=0))


def test_a_training_killed_in_the_second_round_goes_on_there_and_ends_the_same(opened, tmp_path):
    opened("depthwise_convnet")
    features = np.random.default_rng(0).normal(size=(64, 12, 6, 1)).astype(np.float32)
    for part in ("train", "validation"):
        write_arrays(tmp_path / part, {"features": features}, role=Role(part), labels=np.arange(64) % 3)
    settings = Slim(macs=0.5, multiple=1, rounds=2, epochs=2, batch=16, teacher="none")

    source = ModelLocation(tmp_path / "tiny.h5")

    def slimmed(work, on_event):
        context = Context(
            model=open_trainable(source), source=source, train=tmp_path / "train", validation=tmp_path / "validation",
            work=tmp_path / work, seed=0, on_event=on_event,
            open_model=open_trainable,
        )
        return slim(settings, context, trainer(settings, context))

    def killing(event):
        told.append(event["doing"])
        if event["doing"] == "training" and "cutting, round 2 of 2" in told:
            raise KeyboardInterrupt

    told = []
    whole = slimmed("undisturbed", lambda event: None)
    with pytest.raises(KeyboardInterrupt):
        slimmed("killed", killing)
    told.clear()
    resumed = slimmed("killed", lambda event: told.append(event["doing"]))
    assert "cutting, round 2 of 2" in told and "cutting, round 1 of 2" not in told
    assert [len(fit.epochs) for fit in resumed.fits] == [1, 1]
    for name, array in whole.model.weights().items():
        np.testing.assert_array_equal(resumed.model.weights()[name], array)
