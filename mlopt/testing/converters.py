"""What every converter must do, as a test class to subclass: a mistake found once is checked in all of them.

    class TestMine(ConverterContract):
        door = MyConverter()

Imports TensorFlow; run it in a process that sees no torch (`mlopt.isolation.hide(TORCH)` in your conftest).
"""

import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from mlopt import files, plain, plugins
from mlopt.artifact import Storage
from mlopt.convert.protocol import Converter, Place, Precision, Runtime
from mlopt.data.materialise import write_arrays
from mlopt.data.samples import Samples
from mlopt.data.splits import Role
from mlopt.errors import MloptError
from mlopt.testing import grids, tiny
from mlopt.testing.damage import damaged

_FLOAT_ERROR = 1e-4      # of outputs about 1 in size; float32 in another order of operations gives 1e-6
_SAME_ANSWERS = 0.97     # of a file with the graph that rounded in training; activations may be floats in it
_LEAST_SQNR_DB = 5.0     # a file that is this far off computes something else; low enough for 4 bits, untrained


class ConverterContract:
    """Subclass it with `door`; `models` are names of `mlopt.testing.tiny.TINY` that the format can express."""

    door: ClassVar[Converter]
    models: ClassVar[tuple[str, ...]] = ("small_convnet", "two_inputs_two_outputs")

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
        """Each model's float file, samples, and every precision made once."""
        folder = tmp_path_factory.mktemp(cls.door.name)
        return {name: cls._made(folder / name, name) for name in cls.models}

    @classmethod
    def _made(cls, folder: Path, name: str) -> dict[str, Any]:
        folder.mkdir()
        model = tiny.TinyModel(tiny.build(name))
        write_arrays(
            folder / "samples", tiny.inputs_for(model, 48), role=Role.CALIBRATION, signature=model.signature
        )
        float_file = folder / f"float{cls.door.suffix}"
        plain.resolve(cls.door.exporters["keras"].function)(model, model.signature, float_file)
        paths = {cls.door.precisions[0].name: float_file}
        refused = {}
        for precision in cls.door.precisions[1:]:
            dest = folder / f"{precision.name}{cls.door.suffix}"
            reason = plain.resolve(precision.refusal)(float_file) if precision.refusal else ""
            if reason:
                refused[precision.name] = reason
                continue
            cls._make(precision, float_file, dest, model, folder)
            paths[precision.name] = dest
        return {"model": model, "folder": folder, "float": float_file, "paths": paths, "refused": refused}

    @classmethod
    def _make(cls, precision: Precision, float_file: Path, dest: Path, model: tiny.TinyModel, folder: Path) -> None:
        samples = Samples.open(folder / "samples") if precision.needs_samples else None
        plain.resolve(precision.make)(
            float_file, precision.name, dest, signature=model.signature, samples=samples, seed=0
        )

    def _open(self, path: Path, model: tiny.TinyModel) -> Runtime:
        opened: Runtime = plain.resolve(self.door.open_runtime)(path, model.signature)
        return opened

    def test_every_precision_says_when_to_choose_it(self) -> None:
        assert all(len(p.about) > 15 for p in self.door.precisions)

    def test_the_float_file_agrees_with_the_source(self, made: dict[str, Any]) -> None:
        for one in made.values():
            inputs = tiny.inputs_for(one["model"], 5, seed=3)
            found, wanted = self._open(one["float"], one["model"]).predict(inputs), one["model"].predict(inputs)
            assert found.keys() == wanted.keys()
            for name in wanted:
                assert found[name].dtype == np.float32 and found[name].shape == wanted[name].shape
                assert np.abs(found[name] - wanted[name]).max() < _FLOAT_ERROR

    def test_every_precision_runs_and_computes_the_same_function(self, made: dict[str, Any]) -> None:
        for one in made.values():
            inputs = tiny.inputs_for(one["model"], 32, seed=4)
            wanted = one["model"].predict(inputs)
            for precision, path in one["paths"].items():
                found = self._open(path, one["model"]).predict(inputs)
                for name in wanted:
                    noise = float(np.square(found[name] - wanted[name]).sum())
                    sqnr_db = 10 * np.log10(float(np.square(wanted[name]).sum()) / max(noise, 1e-30))
                    assert sqnr_db > _LEAST_SQNR_DB, f"{precision}: {sqnr_db:.1f} dB at {name}"

    def test_a_row_gives_the_same_alone_and_in_a_batch(self, made: dict[str, Any]) -> None:
        for one in made.values():
            inputs = tiny.inputs_for(one["model"], 3, seed=5)
            runtime = self._open(one["float"], one["model"])
            together = runtime.predict(inputs)
            alone = [runtime.predict({k: v[i : i + 1] for k, v in inputs.items()}) for i in range(3)]
            for name, values in together.items():
                np.testing.assert_allclose(values, np.concatenate([a[name] for a in alone]), atol=1e-5)

    def test_what_was_staged_can_be_invoked(self, made: dict[str, Any]) -> None:
        for one in made.values():
            for path in one["paths"].values():
                runtime = self._open(path, one["model"])
                runtime.stage({k: v[:1] for k, v in tiny.inputs_for(one["model"], 1).items()})
                runtime.invoke()

    def test_the_contract_speaks_the_names_of_the_source(self, made: dict[str, Any]) -> None:
        for one in made.values():
            signature = one["model"].signature
            for path in one["paths"].values():
                contract = self._open(path, one["model"]).contract
                assert [p.name for p in contract.inputs] == [s.name for s in signature.inputs]
                assert [p.name for p in contract.outputs] == [s.name for s in signature.outputs]
                assert all(p.scale > 0 for p in (*contract.inputs, *contract.outputs))

    def test_full_integer_files_take_integers(self, made: dict[str, Any]) -> None:
        whole = [p.name for p in self.door.precisions if p.full_integer]
        for one in made.values():
            for name in whole:
                contract = self._open(one["paths"][name], one["model"]).contract
                assert all(np.dtype(p.dtype).kind in "iu" for p in (*contract.inputs, *contract.outputs))

    def test_the_same_arguments_write_the_same_bytes(self, made: dict[str, Any], tmp_path: Path) -> None:
        one = made[self.models[0]]
        for precision in self.door.precisions[1:]:
            if precision.name in one["refused"]:
                continue
            again = tmp_path / f"{precision.name}{self.door.suffix}"
            self._make(precision, one["float"], again, one["model"], one["folder"])
            assert files.digest(again) == files.digest(one["paths"][precision.name]), precision.name

    def test_storage_counts_every_byte_and_no_fewer_weights_than_float(self, made: dict[str, Any]) -> None:
        for one in made.values():
            for path in one["paths"].values():
                storage: Storage = plain.resolve(self.door.read_storage)(path)
                assert sum(storage.weights_by_dtype.values()) > 0
                assert 0 <= storage.overhead_bytes <= files.size(path)
                assert sum(layer.elements for layer in storage.layers) <= sum(storage.weights_by_dtype.values())

    def test_a_trained_grid_decides_where_a_precision_says_so(self, tmp_path: Path) -> None:
        if all(precision.grids is None for precision in self.door.precisions):
            return      # every precision of this format makes its own numbers
        one = grids.case("residual", tmp_path / "grid", bits=(8, 4))
        float_file = tmp_path / f"float{self.door.suffix}"
        plain.resolve(self.door.exporters["keras"].function)(one.model, one.model.signature, float_file)
        write_arrays(tmp_path / "samples", one.inputs, role=Role.CALIBRATION, signature=one.model.signature)
        for precision in self.door.precisions:
            if not precision.takes(one.grid.scheme):
                continue    # it makes its own numbers
            dest = tmp_path / f"{precision.name}{self.door.suffix}"
            plain.resolve(precision.make)(
                float_file, precision.name, dest, signature=one.model.signature, grid=one.grid, seed=0,
                samples=Samples.open(tmp_path / "samples") if precision.needs_samples else None,
            )
            found = next(iter(self._open(dest, one.model).predict(one.inputs).values()))
            assert np.mean(found.argmax(-1) == one.trained().argmax(-1)) >= _SAME_ANSWERS, precision.name

    def test_the_door_imports_nothing_heavy(self) -> None:
        """`mlopt doctor` asks every door, and starts at once."""
        heavy = {*chain(*plugins.framework_imports().values()), *(package.module for package in self.door.reads)}
        asked = f"import sys, {type(self.door).__module__}; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
        assert not (heavy - {"numpy"}) & set(done.stdout.split())

    def test_the_operations_of_every_file_have_names(self, made: dict[str, Any]) -> None:
        for one in made.values():
            for path in one["paths"].values():
                named: list[str] = plain.resolve(self.door.inventory)(path)
                assert named and named == sorted(set(named))

    def test_a_draft_can_be_timed_and_is_the_same_every_time(self, made: dict[str, Any], tmp_path: Path) -> None:
        if not self.door.draft:
            return      # nothing times widths in this format
        assert Place.HOST in self.door.places
        for name, one in made.items():
            drafts = [tmp_path / f"{name}-{number}{self.door.suffix}" for number in range(2)]
            for path in drafts:
                plain.resolve(self.door.draft)(one["float"], path, Samples.open(one["folder"] / "samples"))
            assert files.digest(drafts[0]) == files.digest(drafts[1])
            runtime = self._open(drafts[0], one["model"])
            runtime.stage(tiny.inputs_for(one["model"], 1))
            runtime.invoke()

    def test_a_damaged_file_is_refused_with_a_sentence(self, made: dict[str, Any], tmp_path: Path) -> None:
        one = made[self.models[0]]
        for path in damaged(one["float"], tmp_path):
            with pytest.raises(MloptError):
                self._open(path, one["model"]).predict(tiny.inputs_for(one["model"], 1))
