"""Where each stage's result belongs in the cache: under everything that decides it, its code included, nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlopt import code, extras, frameworks, plain, plugins
from mlopt.cache import Cache
from mlopt.convert.protocol import Converter, Precision
from mlopt.data.identity import identity
from mlopt.location import ModelLocation
from mlopt.model import Signature
from mlopt.pipeline.product import Product
from mlopt.pipeline.request import SampleSources
from mlopt.pipeline.workers import answering, exporting, gathering, making, opening, proving, step, synthesising
from mlopt.pipeline.workers.making import Making
from mlopt.pipeline.workers.proving import Proving
from mlopt.profiling import bursts, latency
from mlopt.recipe.steps import Step


@dataclass(frozen=True)
class Entries:
    """The entry of each stage; it is there exactly when the stage is finished."""

    store: Cache

    def opened(self, location: ModelLocation) -> Path:
        return self._by_framework("source", location, [opening.describe])

    def synthesised(self, location: ModelLocation, seed: int) -> Path:
        return self._by_framework("synthesised", location, [synthesising.synthesise], seed=seed)

    def samples(self, sources: SampleSources, signature: Signature, seed: int) -> Path:
        named = {"data": sources.data, "test": sources.test, "train": sources.train}
        return self._entry(
            "samples", [gathering.gather], (), signature=signature, limits=sources.limits, seed=seed,
            preparation=sources.preparation, **{role: text and identity(text) for role, text in named.items()},
        )

    def answers(self, location: ModelLocation, samples: Path, samples_name: str, seed: int) -> Path:
        """`samples` is a folder of a kept entry, and so for every stage below."""
        return self._by_framework(
            "reference", location, [answering.answer], samples=named(samples), samples_name=samples_name, seed=seed
        )

    def step(self, model: ModelLocation, steps: Sequence[Step], depends_on: Mapping[str, object]) -> Path:
        """`steps`: this one last, and all that came before it. `depends_on`: their settings, and what they work on."""
        door = frameworks.of(model)
        behind = filter(None, [door.open_trainable, door.check_devices, door.member])
        doors = (function for each in steps for function in (each.apply, each.check) if function)
        functions: list[code.Function] = [step.run_step, *behind, *doors]
        packages = [*door.packages]
        for other in (frameworks.of(model.beside(Path(file))) for each in steps for file in each.model_files()):
            functions += filter(None, [other.open, other.open_trainable])
            packages += other.packages
        timed = [plugins.load_converter(each.timed_in) for each in steps if each.timed_in]
        for form in timed:
            exporter = form.exporters[door.name]
            functions += [bursts.time_drafts, exporter.function, form.draft, form.open_runtime]
            packages += [*form.reads, *exporter.needs]
        return self._entry(
            "step", functions, _distributions(packages), environment=dict(door.environment),
            host=latency.host() if timed else None, **depends_on,
        )

    def float_file(self, product: Product, door: Converter) -> Path:
        exporter = door.exporters.get(frameworks.of(product.model).name)
        functions: list[code.Function] = [exporting.export, *([exporter.function] if exporter is not None else [])]
        packages = [*door.reads, *(exporter.needs if exporter is not None else ())]
        return self._by_framework(
            "float", product.model, functions, packages, product=product.identity, format=door.name
        )

    def made(self, door: Converter, precision: Precision, from_: Making) -> Path:
        behind = filter(None, [precision.make, precision.refusal])
        functions: list[code.Function] = [making.make, door.read_storage, *behind]
        return self._entry(
            "made", functions, _distributions(door.reads), made_from=from_.float_entry.name,
            precision=_what_it_is(precision), seed=from_.seed,
            samples=named(from_.calibration) if precision.needs_samples else "",
            on_grid=making.grid_for(precision, from_.grid) is not None,     # of the model that the float file is of
        )

    def proof(self, made: Path, door: Converter, precision: Precision, against: Proving) -> Path:
        functions: list[code.Function] = [proving.prove_file, door.open_runtime, *filter(None, [door.layer_errors])]
        trained = making.grid_for(precision, against.grid) is not None
        return self._entry(
            "proof", functions, _distributions(door.reads), made=made.name, precision=_what_it_is(precision),
            runtime=door.runtime, answers=against.answers.name, samples=named(against.samples),
            samples_name=against.samples_name, calibration=named(against.calibration), seed=against.seed,
            class_names=against.class_names, grid=against.grid.name if trained and against.grid else "",
            validation=named(against.validation) if trained and against.validation else "",
        )

    def latencies(self, door: Converter, digests: Mapping[str, str], base: str, samples: Path) -> Path:
        """Of files by name, each in pairs with the one called `base`."""
        return self._entry(
            "latency", [latency.time_pairs, door.open_runtime], _distributions(door.reads), host=latency.host(),
            format=door.name, files=digests, base=base, samples=named(samples),
        )

    def _by_framework(
        self, stage: str, location: ModelLocation, functions: Sequence[code.Function],
        packages: Sequence[extras.Package] = (), **depends_on: object,
    ) -> Path:
        """Of what the opened model gives."""
        door = frameworks.of(location)
        return self._entry(
            stage, [door.open, *functions], _distributions([*door.packages, *packages]), model=location.identity,
            environment=dict(door.environment), **depends_on,
        )

    def _entry(
        self, stage: str, functions: Sequence[code.Function], packages: Sequence[str], **depends_on: object
    ) -> Path:
        return self.store.entry(stage, code=code.digest(functions, packages), **depends_on)


def named(samples: Path) -> str:
    """What names a folder of samples in the keys of later stages."""
    return f"{samples.parent.name}/{samples.name}"


def _what_it_is(precision: Precision) -> dict[str, object]:
    """A precision without the words about it."""
    return {key: value for key, value in plain.to_plain(precision).items() if key != "about"}


def _distributions(packages: Sequence[extras.Package]) -> list[str]:
    return [package.installed_as for package in packages]
