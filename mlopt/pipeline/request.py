"""What a run was asked to do, checked before any work starts."""

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlopt import extras, plugins
from mlopt.convert.protocol import Converter, Precision
from mlopt.data.materialise import CALIBRATION_SAMPLES
from mlopt.data.preparation import AS_STORED, Preparation
from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import Strategy
from mlopt.location import ModelLocation
from mlopt.recipe.steps import Export, Recipe
from mlopt.settings import CompressSettings

HOLDOUT_SAMPLES = 2000         # drawn from --data where no --test is given: an interval of about two points of top-1
TEST_SAMPLES = 10_000          # an interval of under one point; more rows are said to be unused
VALIDATION_SAMPLES = 5000      # of --train: choices of a recipe are made on them


@dataclass(frozen=True, kw_only=True)
class SampleSources:
    """Where samples come from, as text, and how they are read; one source for several roles is split among them."""

    data: str | None = None
    test: str | None = None
    train: str | None = None
    preparation: Preparation = AS_STORED

    @property
    def named(self) -> tuple[str, ...]:
        """Those that are given."""
        return tuple(source for source in (self.data, self.test, self.train) if source is not None)

    @property
    def proof_name(self) -> str:
        """What the samples are called that files are compared on."""
        if self.test is not None:
            return "test"
        return "holdout" if self.named else "synthesised"

    @property
    def limits(self) -> dict[str, int]:
        """The most samples of each role; training takes all that are left."""
        return {
            "calibration": CALIBRATION_SAMPLES, "test": TEST_SAMPLES if self.test else HOLDOUT_SAMPLES,
            "validation": VALIDATION_SAMPLES,
        }


@dataclass(frozen=True, kw_only=True)
class CompressRequest:
    """Everything that decides the result of a run, and nothing that does not."""

    model: ModelLocation
    out: Path
    data: str | None = None                        # where calibration samples are, as text: a path or module:function
    test: str | None = None
    formats: tuple[str, ...] = ()                  # empty: every installed one
    precisions: tuple[str, ...] = ()               # empty: what each format makes by default
    max_drop: float = 0.01
    preparation: Preparation = AS_STORED
    asked_seed: int | None = None                  # None: the recipe's, or 0
    recipe: str | None = None                      # a shipped recipe's name, or a file
    train: str | None = None                       # where training samples are, as text
    strategy: str = "auto"                         # how training is spread over devices
    track: str = ""                                # "mlflow:URI"
    exports: tuple[Export, ...] = ()               # what the recipe says to write, where `formats` do not

    @property
    def sources(self) -> SampleSources:
        return SampleSources(data=self.data, test=self.test, train=self.train, preparation=self.preparation)

    @property
    def seed(self) -> int:
        """Of every random choice."""
        return self.asked_seed or 0

    @classmethod
    def of(cls, model: str | Path, given: CompressSettings) -> "CompressRequest":
        """What a call with all of its settings asks for."""
        opened = located(
            model, given["weights"], trust_code=given["trust_code"], custom_objects=given["custom_objects"],
            input_shapes=given["input_shapes"],
        )
        return cls(
            model=opened, out=Path(given["out"]) if given["out"] is not None else default_folder(opened.path),
            data=_text("data", given["data"]), test=_text("test", given["test"]),
            formats=tuple(given["formats"]), precisions=tuple(given["precisions"]), max_drop=given["max_drop"],
            preparation=Preparation(
                normalise=given["normalise"], resize=given["resize"], slice_columns=tuple(given["slice_columns"])
            ),
            asked_seed=given["seed"], recipe=_text("recipe", given["recipe"]), train=_text("train", given["train"]),
            strategy=given["strategy"], track=given["track"],
        )

    def following(self, recipe: Recipe) -> "CompressRequest":
        """With the recipe's files and seed where none were asked for."""
        asked = self.formats or self.precisions
        seed = recipe.seed if self.asked_seed is None else self.asked_seed
        return replace(self, exports=() if asked else recipe.export, asked_seed=seed)

    def __post_init__(self) -> None:
        _check_named("the model", str(self.model.path))
        for option in ("data", "test", "train", "recipe"):
            _check_text(f"--{option}", getattr(self, option))
        if not 0 <= self.max_drop < 1:
            raise BadRequest(
                f"--max-drop is a fraction from 0 up to 1, and 0.01 is one point; got {self.max_drop:g}"
            )
        if self.test is not None and self.data is not None and _same(self.test, self.data):
            raise BadRequest("--data and --test name the same samples: a file tested on what it was calibrated on "
                             "proves little. Give --data alone and a part of it is held out for the test.")
        if self.seed < 0:
            raise BadRequest(f"--seed is a whole number from 0 on; got {self.seed}")
        self._check_training()
        said = self.preparation
        idle = {"--normalise": said.normalise, "--resize": said.resize, "--slices": said.slice_columns}
        named = [option for option, value in idle.items() if value]
        if named and self.data is None and self.test is None and self.train is None:
            raise BadRequest(
                f"{' and '.join(named)} would not be used: no samples were given. Name them with --data or --test."
            )

    def _check_training(self) -> None:
        """A recipe and its samples come together; nothing that only training uses is given without one."""
        if self.recipe is None:
            idle = {"--train": self.train, "--track": self.track, "--strategy": self.strategy != "auto"}
            named = [option for option, value in idle.items() if value]
            if named:
                raise BadRequest(f"{' and '.join(named)} would not be used: nothing is trained without --recipe. "
                                 "`mlopt recipes list` shows what there is.")
            return
        if self.train is None:
            raise BadRequest("--recipe trains, and no training samples were given. Name them with --train.")
        if self.strategy not in [strategy.value for strategy in Strategy]:
            plugins.refuse_unknown("strategy", self.strategy, [strategy.value for strategy in Strategy])
        if self.data is not None and _same(self.data, self.train):
            raise BadRequest("--train and --data name the same samples. Leave --data out: a part of the training "
                             "samples is kept for calibration.")
        if self.test is not None and _same(self.test, self.train):
            raise BadRequest("--train and --test name the same samples: a file tested on what it was trained on proves "
                             "nothing. Give --train alone and a part of it is held out for the test.")
        if self.track and not self.track.startswith("mlflow:"):
            raise BadRequest(f"--track is mlflow:URI, e.g. mlflow:http://127.0.0.1:5000; got {self.track!r}")


def path_of(model: str | Path) -> Path:
    """The path; an empty one would be taken for the current folder."""
    if not str(model).strip():
        raise BadRequest("the model's path is empty: name a file or a folder")
    return Path(model)


def default_folder(model: Path) -> Path:
    """Beside the model, named after it.

    >>> str(default_folder(Path("nets/model.h5")))
    'nets/model-mlopt'
    """
    named = model if model.name else model.absolute()      # "." is a model's folder that one stands in
    return named.with_name(f"{named.stem}-mlopt")


def located(
    model: str | Path, weights: str | Path | None, *, trust_code: bool, custom_objects: Sequence[str],
    input_shapes: Mapping[str, tuple[int, ...]],
) -> ModelLocation:
    """Where a call's model is; with `weights`, `model` is the function that builds the network that they are for."""
    location, text = path_of(model), _text("weights", weights)
    return ModelLocation(
        location if text is None else Path(text), factory="" if text is None else str(model), trust_code=trust_code,
        custom_objects=tuple(custom_objects), input_shapes=input_shapes,
    )


def _text(name: str, value: str | Path | None) -> str | None:
    """As the command line would have it; arrays and the like must be written to a file first."""
    if value is not None and not isinstance(value, str | Path):
        raise BadRequest(f"{name} is text or a path, as on the command line; got {type(value).__name__}")
    return None if value is None else str(value)


def _check_text(option: str, text: str | None) -> None:
    """Refuse what would be taken for the current folder, and what no system could look up."""
    if text is None:
        return
    if not text.strip():
        raise BadRequest(f"{option} is empty: leave it out, or name something")
    _check_named(option, text)


def _check_named(option: str, text: str) -> None:
    try:
        text.encode()                    # it stands in the report
        os.lstat(Path(text).expanduser())
    except FileNotFoundError:
        return                           # a name, or a path whose reader says that it is missing
    except (OSError, ValueError, RuntimeError) as err:
        if isinstance(err, OSError) and err.errno != errno.ENAMETOOLONG:
            return
        raise BadRequest(f"{option} is no name and no path: {text[:60]!r} ({len(text):,} characters)") from err


def _same(one: str, other: str) -> bool:
    """Whether two sources are one, however their paths are written."""
    a, b = Path(one).expanduser(), Path(other).expanduser()
    return one == other or (a.exists() and b.exists() and a.samefile(b))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One format's precisions in this run; the float file stands first, whether it was asked for or not."""

    converter: Converter
    precisions: tuple[Precision, ...]


def wanted(request: CompressRequest) -> tuple[Wanted, ...]:
    """What to make; raises `BadRequest` or `UnknownPlugin` with the names that exist."""
    if request.exports:
        return _as_exported(request.exports)
    names = request.formats or sorted(plugins.converter_names(), key=_in_order)
    doors = [plugins.load_converter(name) for name in dict.fromkeys(names)]
    if not request.formats:        # where none is installed, all stay: the error that follows says what to install
        doors = [door for door in doors if not extras.missing(door.extra)] or doors
    known = {p.name for door in doors for p in door.precisions}
    for name in request.precisions:
        if name not in known:
            plugins.refuse_unknown("precision", name, sorted(known))
    chosen = [Wanted(converter=door, precisions=_of(door, request.precisions)) for door in doors]
    if request.precisions:
        for door in doors if request.formats else ():
            _require_any(door, request.precisions)
        chosen = [one for one in chosen if any(p.name in request.precisions for p in one.precisions)]
    if request.data is not None and request.test is not None and not _calibrates(chosen):
        made = dict.fromkeys(p.name for one in chosen for p in one.precisions)
        using = sorted({p.name for door in doors for p in door.precisions if p.needs_samples})
        instead = f", or add a precision that uses it: {', '.join(using)}" if using else ""
        raise BadRequest(
            f"--data would not be used: {', '.join(made)} need no calibration, and --test gives the samples to compare "
            f"on. Leave --data out{instead}."
        )
    return tuple(chosen)


def _as_exported(exports: tuple[Export, ...]) -> tuple[Wanted, ...]:
    """Each format with the precisions that a recipe names for it."""
    chosen = []
    for name in dict.fromkeys(export.to for export in exports):
        door = plugins.load_converter(name)
        precisions = tuple(dict.fromkeys(export.precision for export in exports if export.to == name))
        for precision in precisions:
            if precision not in (known := [p.name for p in door.precisions]):
                plugins.refuse_unknown(f"{name} precision", precision, known)
        chosen.append(Wanted(converter=door, precisions=_of(door, precisions)))
    return tuple(sorted(chosen, key=lambda one: _in_order(one.converter.name)))


def _in_order(name: str) -> tuple[int, str]:
    """The format whose search takes longest first, so that its worker starts first; others by name."""
    known = plugins.load_converter(name).takes_longest if name in plugins.converter_names() else 0
    return (-known, name)


def _of(door: Converter, names: tuple[str, ...]) -> tuple[Precision, ...]:
    first, *others = door.precisions
    return (first, *(p for p in others if (p.name in names if names else p.by_default)))


def _require_any(door: Converter, names: tuple[str, ...]) -> None:
    """A format that was asked for by name is not dropped because it has none of the precisions asked for."""
    has = [p.name for p in door.precisions]
    if not set(has) & set(names):
        raise BadRequest(
            f"{door.name} makes no {' or '.join(names)}; it makes {', '.join(has)}. Leave {door.name} out of --to, or "
            f"add one of them to --precision."
        )


def _calibrates(chosen: list[Wanted]) -> bool:
    return any(p.needs_samples for one in chosen for p in one.precisions)
