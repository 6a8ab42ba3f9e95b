"""What every step must do, as a test class to subclass; and a step's surroundings around a tiny real model.

    class TestMine(StepContract):
        settings = Mine(epochs=2, batch=32)
        impossible = Mine(share=0.01, epochs=2, batch=32)     # where the door names a `check`

Imports TensorFlow; run it in a process that sees no torch (`mlopt.isolation.hide(TORCH)` in your conftest).
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from mlopt import plain, plugins
from mlopt.data.materialise import write_arrays
from mlopt.data.splits import Role
from mlopt.errors import BadRequest
from mlopt.frameworks import open_trainable
from mlopt.frameworks.fitting import Hold
from mlopt.frameworks.protocol import TrainableModel
from mlopt.location import ModelLocation
from mlopt.network import Weights
from mlopt.recipe.explain import explain_step
from mlopt.recipe.load import RecipeInvalid, load
from mlopt.recipe.steps import Step
from mlopt.steps.protocol import Apply, Check, Context, Done
from mlopt.testing import tiny
from mlopt.training.holding import held
from mlopt.training.objective import trainer


def context(
    folder: Path, model: str | Any = "small_convnet", *, labels: str | np.ndarray = "answers", count: int = 96,
    seed: int = 0, **changes: Any,
) -> Context:
    """Around the model of that name in `tiny`, or a `tf_keras` one, saved in `folder` with samples to train on.

    `labels` are the model's own answers as classes, so that training has something to learn and nothing to unlearn;
    "none"; or an array of `count` for the training samples. Validation has a quarter as many.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "source.h5"
    (tiny.build(model, seed) if isinstance(model, str) else model).save(path)
    opened = open_trainable(ModelLocation(path))
    for role, rows in (("train", count), ("validation", max(8, count // 4))):
        random = np.random.default_rng(seed + (role == "validation"))
        inputs = {
            spec.name: random.normal(size=(rows, *(d or 1 for d in spec.shape[1:]))).astype(np.float32)
            for spec in opened.signature.inputs
        }
        given: np.ndarray | None = None
        if isinstance(labels, np.ndarray):
            given = labels[:rows]
        elif labels == "answers":
            given = opened.predict(inputs)[opened.signature.outputs[0].name].argmax(axis=-1).astype(np.int64)
        write_arrays(folder / role, inputs, role=Role.TEST, labels=given, origin="given", signature=opened.signature)
    fields: dict[str, Any] = {
        "model": opened, "source": ModelLocation(path), "train": folder / "train", "validation": folder / "validation",
        "work": folder / "store/work-0", "seed": seed, "on_event": lambda event: None, "open_model": open_trainable,
        "logs": folder / "logs",
    }
    return Context(**(fields | changes))


HEAVY = {"numpy", "scipy", "tensorflow", "tf_keras", "keras", "torch", "onnx", "onnxruntime", "coremltools"}


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A step carried out, and what there was before."""

    around: Context
    shapes: Mapping[str, tuple[int, ...]]
    files: Mapping[Path, bytes]
    done: Done


class StepContract:
    """Subclass it with `settings` that can be carried out on `model`, two epochs at least where the step trains.

    Where the door names a `check`, give `impossible` settings too; they are checked on `model`, or on what
    `impossible_model` returns.
    """

    settings: ClassVar[Step]
    impossible: ClassVar[Step | None] = None
    model: ClassVar[str] = "small_convnet"

    @classmethod
    def impossible_model(cls) -> str | Any:
        """A name in `mlopt.testing.tiny`, or a `tf_keras` model."""
        return cls.model

    @pytest.fixture(scope="class")
    @classmethod
    def carried_out(cls, tmp_path_factory: pytest.TempPathFactory) -> Carried:
        """The step after one that set half of a kernel to zero."""
        around = cls._around(tmp_path_factory.mktemp(cls.settings.name))
        shapes, files = _shapes(around.model), _given_files(around)
        return Carried(around=around, shapes=shapes, files=files, done=cls._apply(around))

    @classmethod
    def _around(cls, folder: Path) -> Context:
        around = context(folder, cls.model)
        name, weight = next(item for item in around.model.network.weights().items() if item[1].role == "kernel")
        mask = np.zeros(weight.shape, bool)
        mask.ravel()[::2] = True
        holds: Mapping[str, Hold] = {name: Hold(mask=mask)}
        around.model.set_weights({name: held(around.model.weights()[name], holds[name])})
        return replace(around, holds=holds)

    @classmethod
    def _apply(cls, around: Context) -> Done:
        around.work.mkdir(parents=True, exist_ok=True)
        apply: Apply = plain.resolve(cls.settings.apply)
        return apply(cls.settings, around, trainer(cls.settings, around))

    def test_it_is_found_by_its_name(self) -> None:
        assert plugins.load_step(self.settings.name) is type(self.settings)

    def test_its_door_imports_nothing_heavy(self) -> None:
        code = f"import {type(self.settings).__module__}, sys; print(sorted(set(sys.modules) & {HEAVY!r}))"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == "[]"

    def test_it_says_what_it_does_and_what_each_key_takes(self) -> None:
        about, keys = explain_step(self.settings.name)
        assert len(about) > 15 and all(key.about and key.kind for key in keys)

    def test_a_recipe_says_the_settings(self, tmp_path: Path) -> None:
        assert load(self._recipe(tmp_path)).steps == (self.settings,)

    def test_a_key_that_it_has_not_is_refused_with_its_line(self, tmp_path: Path) -> None:
        with pytest.raises(RecipeInvalid, match=r"recipe\.yaml:5: .*\bno_such_key\b"):
            load(self._recipe(tmp_path, "\n      no_such_key: 1"))

    def _recipe(self, folder: Path, first: str = "") -> Path:
        said = {
            field.name: value for field in fields(self.settings)
            if (value := getattr(self.settings, field.name)) != field.default
        }
        lines = "".join(f"\n      {key}: {json.dumps(plain.to_plain(value))}" for key, value in said.items())
        recipe = folder / "recipe.yaml"
        recipe.write_text(f"schema: 1\nabout: one step\nsteps:\n  - {self.settings.name}:{first + lines or ' {}'}\n")
        return recipe

    def test_what_cannot_work_is_refused_before_it_trains(self, tmp_path: Path) -> None:
        assert (self.impossible is not None) == bool(self.settings.check), "give `impossible` settings for the `check`"
        if self.impossible is None:
            return
        check: Check = plain.resolve(self.settings.check)
        check(self.settings, self._around(tmp_path / "possible"))
        around = context(tmp_path / "impossible", self.impossible_model())
        before = around.model.weights()
        with pytest.raises(BadRequest):
            check(self.impossible, around)
        _assert_same(around.model.weights(), before)

    def test_it_leaves_a_model_that_opens_and_gives_the_same(self, carried_out: Carried, tmp_path: Path) -> None:
        around, done = carried_out.around, carried_out.done
        done.model.save(tmp_path / "model")
        again = around.open_model(around.source.beside(tmp_path / "model"))
        inputs = {port.name: np.ones((2, *(size or 1 for size in port.shape[1:])), np.float32)
                  for port in around.model.signature.inputs}
        for name, values in done.model.predict(inputs).items():
            np.testing.assert_allclose(again.predict(inputs)[name], values, atol=1e-5)

    def test_inputs_and_outputs_stay_as_they_were(self, carried_out: Carried) -> None:
        before, after = carried_out.around.open_model(carried_out.around.source), carried_out.done.model
        assert after.signature == before.signature

    def test_it_does_what_its_door_says_of_it(self, carried_out: Carried) -> None:
        done = carried_out.done
        after = _shapes(done.model)         # other weights may be gone: batch norms that were folded away
        assert any(carried_out.shapes.get(k, v) != v for k, v in after.items()) == self.settings.resizes
        assert (done.grid is not None) == self.settings.leaves_grid
        assert any(hold.ties is not None for hold in done.holds.values()) == self.settings.shares_values
        assert bool(done.fits) == bool(self.settings.epochs)

    def test_it_leaves_the_source_and_the_samples_alone(self, carried_out: Carried) -> None:
        assert _given_files(carried_out.around) == carried_out.files

    def test_what_earlier_steps_hold_stays_so(self, carried_out: Carried) -> None:
        around, done = carried_out.around, carried_out.done
        weights = done.model.weights()
        assert around.holds.keys() <= done.holds.keys()
        for name, hold in done.holds.items():
            np.testing.assert_allclose(weights[name], held(weights[name], hold), atol=1e-6)

    def test_the_same_seed_leaves_the_same_also_where_it_was_interrupted(
        self, carried_out: Carried, tmp_path: Path
    ) -> None:
        def interrupt(event: Mapping[str, Any]) -> None:
            if event.get("epoch", 0) > 1:
                raise _Interrupted

        around = self._around(tmp_path)
        if self.settings.epochs:
            with pytest.raises(_Interrupted):
                self._apply(replace(around, on_event=interrupt))
        again = self._apply(replace(self._around(tmp_path), work=around.work))
        assert again.facts == carried_out.done.facts
        _assert_same(again.model.weights(), carried_out.done.model.weights())

    def test_facts_are_plain_values(self, carried_out: Carried) -> None:
        facts = plain.to_plain(carried_out.done.facts)
        assert json.loads(json.dumps(facts)) == facts


class _Interrupted(Exception):
    pass


def _shapes(model: TrainableModel) -> dict[str, tuple[int, ...]]:
    return {name: values.shape for name, values in model.weights().items()}


def _given_files(around: Context) -> dict[Path, bytes]:
    """What a step reads and does not own."""
    folders = (around.train, around.validation)
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in (around.source.path, *files)}


def _assert_same(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
