"""What every framework must do, as a test class to subclass: a mistake found once is checked in all of them.

    class TestMine(FrameworkContract):
        door = MyFramework()

        @classmethod
        def example(cls, folder):
            return Example(location=..., inputs=..., outputs=..., parameters=...)

Opens models: run it in a process that sees this framework alone, as its workers do.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from mlopt import frameworks, plain, plugins
from mlopt.channels.coupling import couple
from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.errors import BadRequest, MloptError, ModelUnreadable
from mlopt.frameworks.door import Framework
from mlopt.frameworks.fitting import FitResult, FitTask, Hold, LabelLoss, Optimizer, Strategy
from mlopt.frameworks.protocol import TrainableModel, TrainedModel
from mlopt.isolation import TORCH
from mlopt.location import ModelLocation
from mlopt.network import Kind, Weights
from mlopt.testing.damage import damaged

_ERROR = 1e-5            # of outputs about 1 in size; float32 in another order of operations gives 1e-6
_EPOCHS, _BATCH = 3, 8
_PROBE = """
import importlib, json, sys
from pathlib import Path
from mlopt.location import ModelLocation
module, name, path = sys.argv[1:]
getattr(importlib.import_module(module), name)().check(ModelLocation(Path(path)))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A small model and what is known of it; at least 24 rows."""

    location: ModelLocation                         # a file, or a folder
    inputs: Mapping[str, np.ndarray]                # [N, ...] by input name
    outputs: Mapping[str, np.ndarray]               # float32 [N, ...] by output name, worked out elsewhere
    parameters: int
    foreign: tuple[Path, ...] = ()                  # files and folders that other frameworks open
    # What a training is to learn; not needed where `Framework.open_trainable` is "".
    loss: LabelLoss | None = None
    labels: np.ndarray | None = None                # [N, ...]
    learning_rate: float = 0.01


class Ended(Exception):
    """A training was ended from outside."""


class _Ending:
    """A holder that holds nothing, and may end the training the second time that it is asked while it runs."""

    def __init__(self, every: int, *, ends: bool) -> None:
        self.every, self.ends = every, ends

    def holds(self, step: int, steps: int, weights: Weights) -> Mapping[str, Hold] | None:
        if self.ends and step:
            raise Ended
        return None


class FrameworkContract:
    """Subclass it with `door` and `example`. What a framework lacks it refuses with `BadRequest` and a reason."""

    door: ClassVar[Framework]

    @classmethod
    def example(cls, folder: Path) -> Example:
        """Write a model into this folder."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def given(cls, tmp_path_factory: pytest.TempPathFactory) -> Example:
        return cls.example(tmp_path_factory.mktemp(cls.door.name))

    @pytest.fixture(scope="class")
    @classmethod
    def opened(cls, given: Example) -> TrainedModel:
        model: TrainedModel = plain.resolve(cls.door.open)(given.location)
        return model

    @pytest.fixture
    def trainable(self, given: Example) -> TrainableModel:
        return self._trainable(given.location)

    def _trainable(self, location: ModelLocation) -> TrainableModel:
        if not self.door.open_trainable:
            pytest.skip(f"{self.door.name} models are not trained")
        model: TrainableModel = plain.resolve(self.door.open_trainable)(location)
        return model

    def test_the_door_imports_nothing_heavy_and_neither_does_its_check(self, given: Example) -> None:
        kind = type(self.door)
        words = [kind.__module__, kind.__qualname__, str(given.location.path)]
        probe = subprocess.run([sys.executable, "-c", _PROBE, *words], capture_output=True, text=True, check=False)
        assert probe.returncode == 0, probe.stderr
        assert not (self.door.imports | TORCH | {"numpy"}).intersection(json.loads(probe.stdout))

    def test_every_function_that_the_door_names_is_there(self) -> None:
        door = self.door
        named = [door.open, door.open_trainable, door.check_devices, door.member]
        assert all(callable(plain.resolve(name)) for name in named if name)
        assert door.open and len(door.gives) > 10 and len(door.takes) > 10

    def test_no_other_framework_that_is_installed_takes_its_model(self, given: Example) -> None:
        assert self.door.name in plugins.framework_names(), "its entry point is called as the door is"
        assert frameworks.of(given.location).name == self.door.name
        for name in set(plugins.framework_names()) - {self.door.name}:
            with pytest.raises(ModelUnreadable):
                plugins.load_framework(name).check(given.location)

    def test_what_is_no_model_of_its_own_is_refused_before_it_is_opened(self, given: Example, tmp_path: Path) -> None:
        (tmp_path / "empty").write_bytes(b"")
        (tmp_path / "text").write_text("a letter, and no model")
        (tmp_path / "folder").mkdir()
        for path in (*given.foreign, *(tmp_path / name for name in ("empty", "text", "folder", "missing"))):
            with pytest.raises(ModelUnreadable, match=path.name):
                self.door.check(ModelLocation(path))

    def test_an_opened_model_says_what_it_is(self, given: Example, opened: TrainedModel) -> None:
        source, signature = opened.source, opened.source.signature
        assert (source.framework, source.path) == (self.door.name, given.location.path)
        assert (source.digest, source.file_bytes) == (given.location.digest, given.location.size)
        assert source.parameters == given.parameters == sum(layer.parameters for layer in source.layers)
        assert source.macs == sum(layer.macs for layer in source.layers)
        assert 0 < source.weight_bytes <= source.file_bytes
        assert {spec.name: spec.shape[1:] for spec in signature.inputs} == _shapes(given.inputs)
        assert {spec.name: spec.shape[1:] for spec in signature.outputs} == _shapes(given.outputs)
        assert all(spec.shape[0] is None for spec in (*signature.inputs, *signature.outputs))
        assert len(source.output_activations) == len(signature.outputs)

    def test_it_computes_the_outputs_that_are_known_in_a_batch_and_alone(
        self, given: Example, opened: TrainedModel
    ) -> None:
        _assert_near(opened.predict(given.inputs), given.outputs)
        first = opened.predict(_rows(given.inputs, 1))
        _assert_near(first, _rows(given.outputs, 1))

    def test_synthesised_inputs_fit_the_signature_and_are_the_same_for_a_seed(self, opened: TrainedModel) -> None:
        made, told = opened.synthesise(5, seed=3)
        again, _ = opened.synthesise(5, seed=3)
        assert len(told) > 10
        for spec in opened.source.signature.inputs:
            assert made[spec.name].dtype == spec.dtype and made[spec.name].shape[0] == 5
            np.testing.assert_array_equal(made[spec.name], again[spec.name])
        assert all(np.isfinite(values).all() for values in opened.predict(made).values())

    def test_a_damaged_file_is_refused_with_a_sentence(self, given: Example, tmp_path: Path) -> None:
        for path in damaged(given.location.path, tmp_path):
            with pytest.raises(MloptError, match=path.name):
                plain.resolve(self.door.open)(ModelLocation(path))

    def test_a_trainable_model_computes_the_same(self, given: Example, trainable: TrainableModel) -> None:
        _assert_near(trainable.predict(given.inputs), given.outputs)

    def test_its_network_describes_every_weight(self, given: Example, trainable: TrainableModel) -> None:
        network, weights = trainable.network, trainable.weights()
        assert {name: weight.shape for name, weight in network.weights().items()} == {
            name: values.shape for name, values in weights.items()
        }
        assert network.parameters == given.parameters
        known: set[str] = set()
        for node in network.nodes:
            assert known.issuperset(node.inputs), f"{node.name} stands before what it reads"
            known.add(node.name)
        assert len(network.outputs) == len(trainable.signature.outputs) == len(trainable.output_activations)

    def test_activations_of_the_last_nodes_are_the_outputs(self, given: Example, trainable: TrainableModel) -> None:
        last, signature = trainable.network.outputs, trainable.signature
        found = trainable.activations(last, given.inputs)
        renamed = {spec.name: found[node] for node, spec in zip(last, signature.outputs, strict=True)}
        _assert_near(renamed, given.outputs)

    def test_weights_that_are_set_are_used_and_come_back(self, given: Example, trainable: TrainableModel) -> None:
        before = trainable.weights()
        random = np.random.default_rng(0)
        changed = {name: (v + random.uniform(0.1, 0.2, v.shape)).astype(v.dtype) for name, v in before.items()}
        trainable.set_weights(changed)
        for name, values in trainable.weights().items():
            np.testing.assert_array_equal(values, changed[name])
        moved = trainable.predict(given.inputs)
        assert any(np.abs(moved[name] - values).max() > 1e-3 for name, values in given.outputs.items())
        for values in changed.values():
            values[...] = 0                                # what was given was copied
        _assert_near(trainable.predict(given.inputs), moved)
        trainable.set_weights(before)
        _assert_near(trainable.predict(given.inputs), given.outputs)

    def test_what_was_saved_opens_again_as_the_same_function(
        self, given: Example, trainable: TrainableModel, tmp_path: Path
    ) -> None:
        trainable.save(tmp_path / "saved")
        saved = ModelLocation(tmp_path / "saved")
        assert frameworks.of(saved).name == self.door.name
        _assert_near(plain.resolve(self.door.open)(saved).predict(given.inputs), given.outputs)
        again = self._trainable(saved)
        _assert_near(again.predict(given.inputs), given.outputs)
        assert again.weights().keys() == trainable.weights().keys()

    def test_folding_keeps_the_function_and_leaves_no_normalization(
        self, given: Example, trainable: TrainableModel
    ) -> None:
        folded = _unless_refused(trainable.folded)
        if folded is not None:
            assert not [node for node in folded.network.nodes if node.kind is Kind.NORMALIZATION]
            _assert_near(folded.predict(given.inputs), given.outputs)

    def test_a_narrowed_model_is_the_one_whose_channels_are_silenced(
        self, given: Example, trainable: TrainableModel
    ) -> None:
        groups, weights = couple(trainable.network), trainable.weights()
        dropped = {group.name: np.arange(group.units // 2) for group in groups.free if group.units > 1}
        narrowed = _unless_refused(lambda: trainable.narrowed(groups.kept(dropped)))
        if narrowed is not None:
            trainable.set_weights(groups.masked(weights, dropped))
            _assert_near(narrowed.predict(given.inputs), trainable.predict(given.inputs))
            assert narrowed.signature == trainable.signature
            assert (narrowed.network.parameters < trainable.network.parameters) == bool(dropped)

    def test_a_training_lowers_its_loss_and_is_the_same_for_a_seed(self, given: Example, tmp_path: Path) -> None:
        first, second = self._trainable(given.location), self._trainable(given.location)
        task = self._task(given, tmp_path, "one", ends=False)
        result = _fit(first, task)
        again = _fit(second, self._task(given, tmp_path, "two", ends=False))
        assert result.epochs[-1].losses["total"] < result.epochs[0].losses["total"]
        assert [epoch.losses for epoch in result.epochs] == [epoch.losses for epoch in again.epochs]
        _assert_same(first.weights(), second.weights())
        assert any((first.weights()[name] != values).any() for name, values in
                   self._trainable(given.location).weights().items())

    def test_a_training_that_was_ended_goes_on_to_the_same_weights(self, given: Example, tmp_path: Path) -> None:
        undisturbed, resumed = self._trainable(given.location), self._trainable(given.location)
        _fit(undisturbed, self._task(given, tmp_path, "undisturbed", ends=False))
        with pytest.raises(Ended):
            _fit(self._trainable(given.location), self._task(given, tmp_path, "ended", ends=True))
        result = _fit(resumed, self._task(given, tmp_path, "ended", ends=False))
        assert result.resumed_at_step == len(_any(given.inputs)) // _BATCH
        _assert_same(resumed.weights(), undisturbed.weights())

    def _task(self, given: Example, folder: Path, name: str, *, ends: bool) -> FitTask:
        """A training on the example's rows; where it `ends`, that is in its second epoch."""
        if given.loss is None:
            pytest.skip("the example has nothing to learn")
        samples = folder / "samples"
        if not samples.exists():
            write_arrays(samples, given.inputs, role=Role.TEST, labels=given.labels)
        every = len(_any(given.inputs)) // _BATCH + 1
        return FitTask(
            samples=samples, validation=None, losses=(given.loss,), epochs=_EPOCHS, batch=_BATCH, seed=4,
            optimizer=Optimizer(name="sgd", learning_rate=given.learning_rate), holder=_Ending(every, ends=ends),
            strategy=Strategy.ONE, checkpoints=folder / name, checkpoint_every_s=0.0,
        )


def _fit(model: TrainableModel, task: FitTask) -> FitResult:
    return model.fit(task, lambda event: None)


def _unless_refused(make: Callable[[], TrainableModel]) -> TrainableModel | None:
    """None where the framework cannot, and says why."""
    try:
        return make()
    except BadRequest as err:
        assert len(str(err)) > 10
        return None


def _any(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return next(iter(arrays.values()))


def _rows(arrays: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    return {name: values[:count] for name, values in arrays.items()}


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: values.shape[1:] for name, values in arrays.items()}


def _assert_near(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], values, rtol=_ERROR, atol=_ERROR, err_msg=name)


def _assert_same(found: Weights, wanted: Weights) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name].tobytes() == values.tobytes(), name
