"""The step from settings to a narrower network, on networks of numpy; training is a seeded shift of the weights."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from mlopt.channels.coupling import couple
from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import EpochFacts, FitResult, Hold, InputFacts
from mlopt.location import ModelLocation
from mlopt.steps.protocol import Context
from mlopt.steps.slim import Slim, latency
from mlopt.steps.slim.apply import cut_holds, slim
from mlopt.steps.slim.proof import prove
from mlopt.testing import tiny
from mlopt.testing.networks import Builder, NumpyModel


def residual_network():
    b = Builder(seed=3)
    stem = b.normalization(b.convolution(b.input(4, 4, 3), 16, "linear"))
    body = b.convolution(b.passing(stem), 32, "relu")
    joined = b.add(b.normalization(b.convolution(body, 16)), stem)
    return b.model(b.convolution(b.flatten(b.pooling(b.passing(joined, "sigmoid"))), 4))


class Training:
    """Adds to every weight a number that depends on the training's name; can be killed before one of them."""

    def __init__(self, killed_before=None):
        self.done, self.killed_before, self.holds = [], killed_before, []

    def __call__(self, model, epochs, name, *, holds):
        if name == self.killed_before:
            raise KeyboardInterrupt
        self.done.append((name, epochs))
        self.holds.append(holds)
        model.set_weights({key: array + 0.01 * len(name + str(epochs)) for key, array in model.weights().items()})
        epoch = EpochFacts(epoch=1, losses={"total": 1.0}, validation=0.5, learning_rate=0.1, seconds=1.0)
        waited = InputFacts(waiting=0.0, samples_per_second=1.0, applied=(), advice=())
        return FitResult(epochs=(epoch,) * epochs, best_epoch=1, validation=0.5, steps=1, replicas=1,
                         resumed_at_step=0, input=waited)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A model file: it is recognised, and nobody asks it here."""
    path = tmp_path_factory.mktemp("teacher") / "model.h5"
    tiny.build("autoencoder").save(path, save_format="h5")
    return path


@pytest.fixture
def context(tmp_path, teacher):
    model = residual_network()
    images = np.random.default_rng(0).normal(size=(20, 4, 4, 3)).astype(np.float32)
    for part in ("train", "validation"):
        write_arrays(tmp_path / part, {"input0": images}, role=Role(part), labels=np.arange(20) % 4)
    return Context(
        model=model, source=ModelLocation(teacher), train=tmp_path / "train",
        validation=tmp_path / "validation", work=tmp_path / "work", seed=0, on_event=lambda event: None,
        open_model=NumpyModel.open,
    )


def without_training(model, epochs, name, *, holds):
    raise AssertionError("nothing was to be trained")


@pytest.mark.parametrize("criterion", ["magnitude", "scale", "taylor", "random"])
@pytest.mark.parametrize("target", [{"macs": 0.5}, {"parameters": 0.4}, {"bytes": 1200}])
def test_the_target_is_met_and_facts_say_what_was_cut(context, criterion, target):
    done = slim(Slim(criterion=criterion, **target), context, without_training)
    before, after = done.facts["before"], done.facts["after"]
    (name,) = target
    reached = after[name] if name == "bytes" else after[name] / before[name]
    assert reached <= target[name]
    assert after["parameters"] == done.model.network.parameters == sum(w.size for w in done.model.weights().values())
    widths = {row["group"]: row["after"] for row in done.facts["groups"]}
    assert all(couple(done.model.network).network.node(name).channels == width for name, width in widths.items())
    if criterion == "scale":
        assert "no batch norm ranks the channels of convolution4: left whole" in done.notes
        assert widths["convolution4"] == 32


def test_masks_and_ties_are_cut_along_with_their_weights(context):
    kernel = context.model.weights()["convolution1/kernel"]
    ties = np.arange(kernel.size, dtype=np.int32).reshape(kernel.shape)
    context = replace(context, holds={"convolution1/kernel": Hold(mask=kernel > 0, ties=ties)})
    training = Training()
    done = slim(Slim(macs=0.5, criterion="random", epochs=1), context, training)
    (trained,) = training.holds
    assert np.array_equal(trained["convolution1/kernel"].ties, done.holds["convolution1/kernel"].ties)
    done = slim(Slim(macs=0.5, criterion="random"), replace(context, work=context.work / "untrained"), without_training)
    hold, left = done.holds["convolution1/kernel"], done.model.weights()["convolution1/kernel"]
    assert left.shape[1] < kernel.shape[1]
    assert np.array_equal(hold.mask, left > 0) and np.array_equal(kernel.ravel()[hold.ties], left)


def test_a_hold_on_a_weight_that_stays_whole_stays_as_it_is():
    hold = Hold(mask=np.ones(3, bool))
    assert cut_holds({"a": hold}, {"b": {0: np.array([1])}})["a"].mask.tolist() == [True] * 3


def test_rounds_approach_the_target_by_equal_ratios_and_share_the_epochs(context):
    training = Training()
    done = slim(Slim(macs=0.25, rounds=2, epochs=5, multiple=1, criterion="magnitude"), context, training)
    assert training.done == [("round-1", 2), ("round-2", 3)]
    first, second = done.facts["rounds"]
    assert first["target"] == pytest.approx(0.5) and second["target"] == pytest.approx(0.25)
    assert 0.45 < first["reached"] <= 0.5 and 0.2 < second["reached"] <= 0.25
    assert [len(fit.epochs) for fit in done.fits] == [2, 3]


@pytest.mark.parametrize("killed_before", ["round-1", "round-2", "round-3"])
def test_a_killed_run_goes_on_where_it_was(context, tmp_path, killed_before):
    settings = Slim(macs=0.3, rounds=3, epochs=3, multiple=1)
    whole = slim(settings, replace(context, work=tmp_path / "undisturbed"), Training())
    with pytest.raises(KeyboardInterrupt):
        slim(settings, context, Training(killed_before))
    training = Training()
    resumed = slim(settings, context, training)
    assert training.done[0] == (killed_before, 1)
    assert resumed.model.network == whole.model.network and resumed.facts == whole.facts and resumed.fits == whole.fits
    for name, array in whole.model.weights().items():
        np.testing.assert_array_equal(resumed.model.weights()[name], array)
    again = slim(settings, context, without_training)
    np.testing.assert_array_equal(again.model.weights()["convolution1/kernel"],
                                  whole.model.weights()["convolution1/kernel"])


def test_the_groups_are_told_before_anything_is_cut(context):
    told = []
    slim(Slim(macs=0.5, criterion="magnitude"), replace(context, on_event=lambda e: told.append(e["doing"])), None)
    # each of 16: 3 + 1 weights, 4 of a norm; 32 that the body reads; 32 + 1 and 4 of the other branch; 4 read at last
    assert told[:3] == [
        "2 groups of channels can be cut",
        "convolution1: 16 channels, 1296 weights; together with convolution5",
        "convolution4: 32 channels, 1056 weights; on its own",
    ]
    groups = told[: told.index("choosing channels, round 1 of 1")]
    assert "input0: 3 channels, 48 weights; stays whole: an input of the model" in groups


# ---- refused before anything is trained


@pytest.mark.parametrize(("settings", "sentence"), [
    (Slim(), "exactly one target of macs, parameters, bytes, latency; here is none"),
    (Slim(macs=0.5, bytes=100), "here is macs and bytes"),
    # 16 * (3 * 4 + 4 * 8 + 8 * 4) + 4 * 4 of 16 * (3 * 16 + 16 * 32 + 32 * 16) + 16 * 4
    (Slim(macs=0.05), r"cannot reach `macs: 0.05`.*smallest share is 0.072.*smaller `least`"),
    (Slim(bytes=100), r"cannot reach `bytes: 100`.*the fewest bytes are \d+ of \d+"),
    (Slim(macs=0.5, rounds=3, epochs=2), "3 rounds share 2 epochs"),
    (Slim(latency=0.5), "nothing can be timed here"),
])
def test_what_cannot_work_is_refused_with_the_reason(context, settings, sentence):
    with pytest.raises(BadRequest, match=sentence):
        slim(settings, context, without_training)


def test_a_network_without_free_channels_is_refused_with_the_reasons(context):
    b = Builder()
    model = b.model(b.convolution(b.input(4, 4, 3), 4))
    with pytest.raises(BadRequest, match=r"could be cut. an input of the model; an output of the model"):
        slim(Slim(macs=0.5), replace(context, model=model), without_training)


def test_scale_needs_a_batch_norm(context):
    b = Builder()
    model = b.model(b.convolution(b.convolution(b.input(4, 4, 3), 8), 4))
    with pytest.raises(BadRequest, match="no group of channels has a batch norm"):
        slim(Slim(macs=0.5, criterion="scale"), replace(context, model=model), without_training)


def test_a_network_within_the_target_is_left_whole_and_a_note_says_so(context):
    done = slim(Slim(bytes=10**6, criterion="magnitude"), context, without_training)
    assert done.facts["after"] == done.facts["before"]
    assert "within `bytes` before anything was cut" in done.notes[0]


# ---- the proof


class Miscut(NumpyModel):
    """Rebuilds with one number wrong."""

    def narrowed(self, kept):
        small = super().narrowed(kept)
        small.arrays["convolution4/kernel"][0, 0] += 0.1
        return small


def test_a_rebuilt_network_that_computes_something_else_is_never_trained(context):
    model = Miscut(context.model.network, context.model.arrays)
    with pytest.raises(AssertionError, match=r"convolution4: the rebuilt network is .* away"):
        slim(Slim(macs=0.5, epochs=1, criterion="magnitude"), replace(context, model=model), without_training)


def test_the_proof_leaves_the_network_as_it_was(context):
    before = context.model.weights()
    groups = couple(context.model.network)
    inputs = {"input0": np.random.default_rng(0).normal(size=(2, 4, 4, 3))}
    dropped = {"convolution1": np.array([0, 5])}
    assert prove(context.model, context.model.narrowed(groups.kept(dropped)), groups, dropped, inputs) < 1e-12
    for name, array in context.model.weights().items():
        np.testing.assert_array_equal(array, before[name])


# ---- measured latency


class Clock:
    """A machine on which time is what the test says; remembers how often it was asked for how many networks."""

    def __init__(self, microseconds):
        self.microseconds, self.asked = microseconds, []

    def __call__(self, folders):
        self.asked.append(len(folders))
        return [self.microseconds(NumpyModel.open(ModelLocation(folder)).network) for folder in folders]


def by_stem(network):
    """Time is where the picture is: the stem counts alone, in steps of 8 channels."""
    return 100.0 + 50.0 * -(-network.node("convolution1").channels // 8)


def test_latency_is_cut_where_time_was_measured(context):
    clock = Clock(by_stem)
    done = slim(Slim(latency=0.8, criterion="magnitude"), replace(context, latencies=clock), without_training)
    widths = {row["group"]: row["after"] for row in done.facts["groups"]}
    assert widths == {**widths, "convolution1": 8, "convolution4": 32}      # 150 of 200 us; 12 channels would save none
    assert done.facts["rounds"][0]["measured"] == 0.75
    assert done.facts["latency"]["whole_us"] == 200.0
    assert sum(clock.asked) <= 40


def test_a_saving_that_does_not_add_up_is_corrected_by_measuring(context):
    def less_together(network):
        stem, body = 1 - network.node("convolution1").channels / 16, 1 - network.node("convolution4").channels / 32
        return 100.0 * (1 - 0.5 * max(stem, body) - 0.05 * min(stem, body))

    clock = Clock(less_together)
    settings = Slim(latency=0.7, criterion="magnitude", multiple=1)
    done = slim(settings, replace(context, latencies=clock), without_training)
    (facts,) = done.facts["rounds"]
    assert facts["tried"][0][0] <= 0.7 < facts["tried"][0][1]       # single savings promised more than there was
    assert 0.6 < facts["measured"] <= 0.7


def test_a_saving_that_more_than_adds_up_is_widened_until_it_is_near(context):
    settings = Slim(latency=0.7, criterion="magnitude", multiple=1)
    done = slim(settings, replace(context, latencies=Clock(more_together)), without_training)
    (facts,) = done.facts["rounds"]
    assert facts["tried"][0][1] < 0.65                              # together they save more than one by one
    assert 0.65 < facts["measured"] <= 0.7


def test_a_latency_that_no_width_reaches_is_refused_with_the_measured_share(context):
    with pytest.raises(BadRequest, match=r"cannot reach `latency: 0.5`.*smallest share is 0.750"):
        slim(Slim(latency=0.5), replace(context, latencies=Clock(by_stem)), without_training)


def test_what_was_measured_is_not_measured_again(context):
    settings = Slim(latency=0.8, criterion="magnitude", epochs=1)
    with pytest.raises(KeyboardInterrupt):
        slim(settings, replace(context, latencies=Clock(by_stem)), Training("round-1"))
    clock = Clock(by_stem)
    slim(settings, replace(context, latencies=clock), Training())
    assert clock.asked == []
    shutil.rmtree(context.work)
    slim(settings, replace(context, latencies=clock), Training())
    assert clock.asked != []


def test_a_cut_far_below_the_target_is_told(context):
    done = slim(Slim(macs=0.9, multiple=16, least=0.0), context, without_training)
    reached = done.facts["rounds"][-1]["reached"]
    assert reached < 0.81
    assert f"whole steps of widths leave {reached:.3f} of the macs, and 0.9 was asked for" in " ".join(done.notes)
    near = slim(Slim(macs=0.9, multiple=1), replace(context, work=context.work / "near"), without_training)
    assert near.facts["rounds"][-1]["reached"] > 0.81 and not any("was asked for" in note for note in near.notes)


def more_together(network):
    stem, body = 1 - network.node("convolution1").channels / 16, 1 - network.node("convolution4").channels / 32
    return 100.0 * (1 - 0.3 * stem - 0.3 * body - 0.5 * stem * body)


def test_a_search_that_was_killed_measures_nothing_twice(context):
    settings = Slim(latency=0.7, criterion="magnitude", multiple=1)
    undisturbed = Clock(more_together)
    wanted = slim(settings, replace(context, work=context.work / "a", latencies=undisturbed), without_training)
    dying = Clock(more_together)

    def killed(folders):
        if len(dying.asked) == 4:                   # the table, and three networks of the search
            raise KeyboardInterrupt
        return dying(folders)

    again = Clock(more_together)
    with pytest.raises(KeyboardInterrupt):
        slim(settings, replace(context, work=context.work / "b", latencies=killed), without_training)
    done = slim(settings, replace(context, work=context.work / "b", latencies=again), without_training)
    assert done.facts["groups"] == wanted.facts["groups"]
    assert dying.asked + again.asked == undisturbed.asked


def test_a_group_that_was_not_timed_keeps_its_width(context, monkeypatch):
    monkeypatch.setattr(latency, "VARIANTS", latency.WHOLES + 2)        # one width of one group
    done = slim(Slim(latency=0.8, criterion="magnitude"), replace(context, latencies=Clock(more_together)),
                without_training)
    cut = [row["group"] for row in done.facts["groups"] if row["after"] < row["before"]]
    assert len(cut) == 1
    assert "too many to time" in " ".join(done.notes)
