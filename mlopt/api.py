"""The notebook surface: each call is one whole job, done in worker processes whatever the caller has imported."""

from __future__ import annotations

import inspect
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from mlopt import extras, frameworks
from mlopt.cache import Cache
from mlopt.model import SourceModel
from mlopt.pipeline import bundle, finish, stages
from mlopt.pipeline.progress import OnProgress, unheard
from mlopt.pipeline.request import CompressRequest, located, path_of, wanted
from mlopt.pipeline.run import Run, require_extras
from mlopt.pipeline.timed_format import with_formats
from mlopt.pipeline.workspace import Workspace
from mlopt.recipe.load import load as load_recipe
from mlopt.render import terminal
from mlopt.render.html.page import to_html
from mlopt.report import Candidate, Report
from mlopt.settings import CompressSettings, complete, parameters
from mlopt.worker import Crew

if TYPE_CHECKING:
    from rich.console import Console

    from mlopt.profiling.session import FileProfile, OnStep, Profile


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """What `compress` left: a folder on disk, and the report about it."""

    folder: Path
    report: Report

    @property
    def best(self) -> dict[str, Candidate]:
        """The recommended file of each format that has one; its `path` is relative to `folder`."""
        return {c.format: c for c in self.report.candidates if c.recommended}

    def path(self, candidate: Candidate) -> Path:
        """Where that file is."""
        return self.folder / candidate.path

    def table(self, width: int = 120) -> str:
        """The candidates as plain text."""
        from rich.console import Console

        console = Console(width=width, file=io.StringIO(), color_system=None)
        with console.capture() as captured:
            terminal.show(self.report, console)
        return captured.get()

    def _repr_html_(self) -> str:
        """The whole report in a frame of its own, so that its styles and the notebook's do not meet."""
        return _framed(to_html(self.report), "mlopt report")


@dataclass(frozen=True, kw_only=True)
class Profiled:
    """What `profile` measured, and its renderings."""

    profile: Profile
    compared: bool = False          # renderings show what changed from the first file to the second

    @property
    def files(self) -> tuple[FileProfile, ...]:
        """One for each file, in the order in which they were given."""
        return self.profile.profiles

    def page(self) -> str:
        """One self-contained HTML page."""
        from mlopt.render import profile_page

        return profile_page.to_html(self.profile, compared=self.compared)

    def table(self, width: int = 120) -> str:
        """What the command prints, as plain text."""
        from rich.console import Console

        console = Console(width=width, file=io.StringIO(), color_system=None, highlight=False)
        with console.capture() as captured:
            self.show(console)
        return captured.get()

    def show(self, console: Console) -> None:
        """Print it."""
        from mlopt.render import profiles

        for one in self.files:
            profiles.show(one, console)
        if self.compared:
            profiles.show_changes(*self.files, console=console)

    def plain(self) -> dict[str, object]:
        """Plain values for JSON, every raw time among them; an unknown number is None."""
        from mlopt.profiling import session

        return session.to_plain(self.profile)

    def trace(self) -> str:
        """For Perfetto or Chrome."""
        from mlopt.profiling import exports

        return exports.chrome_trace(self.files)

    def model_explorer(self) -> str:
        """Node data of the first file for Model Explorer."""
        from mlopt.profiling import exports

        return exports.model_explorer(self.files[0])

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its styles and the notebook's do not meet."""
        return _framed(self.page(), "mlopt profile")


def load(
    model: str | Path,
    *,
    weights: str | Path | None = None,
    trust_code: bool = False,
    custom_objects: Sequence[str] = (),
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> SourceModel:
    """Open a trained model and say what it is: signature, layers, sizes. Runs no code of the file's.

    With `weights`, `model` is "package.module:function", which builds the network that they are for.
    Raises `ModelUnreadable`; `UntrustedCode` where the file carries code and `trust_code` is not set; `MissingExtra`
    without the extra of its framework.
    """
    location = located(
        model, weights, trust_code=trust_code, custom_objects=custom_objects, input_shapes=input_shapes or {}
    )
    extras.require(frameworks.of(location).extra, f"opening {location.path}")
    store = Cache()
    with Crew(store.root) as crew:
        return stages.opened(Workspace(crew=crew, store=store), location)


def compress(
    model: str | Path, *, on_progress: OnProgress | None = None, **settings: Unpack[CompressSettings]
) -> Compressed:
    """Write `model` in every format and precision asked for, prove each file, time it, and recommend.

    `data` holds samples to calibrate on and `test` labelled ones to measure on: a path, or "package.module:function".
    Without `test` a part of `data` is held out; without either, inputs are synthesised from the model itself.
    `out` is the bundle's folder, by default NAME-mlopt beside the model. `max_drop` is the largest loss of the task's
    metric that a recommended file may have, as a fraction: 0.01 is one point; without labels, 1 - agreement.
    `recipe` is a shipped recipe's name or a YAML file: its steps are trained on the samples of `train` first, and files
    are exported from what they leave; the proof stays against `model`. `strategy` spreads training over devices
    ("auto", "one", "mirrored", "multi-worker", "parameter-server", "tpu"); `track` is "mlflow:URI".
    `seed` is that of every random choice; left out, it is the recipe's, or 0.
    `normalise` is what the pixel values 0..255 become, e.g. (0, 1); by default they stay.
    `model` may be "package.module:function", which builds the network that `weights` are for.
    All settings, with their types: `mlopt.settings.CompressSettings`.

    Raises an `MloptError` for anything in the model, the data or the folder that stands in the way.
    """
    return _run(CompressRequest.of(model, complete(settings)), on_progress or unheard)


compress.__signature__ = inspect.Signature([          # type: ignore[attr-defined]  # what help and notebooks show
    *list(inspect.signature(compress).parameters.values())[:2], *parameters()
], return_annotation=Compressed)


def profile(
    files: str | Path | Sequence[str | Path],
    *,
    on: str = "host",
    threads: int = 1,
    cpus: Sequence[int] = (),
    rate_hz: float = 0.0,
    runs: int = 700,
    instructions: Sequence[str] = (),
    seed: int = 0,
    compare: bool = False,
    on_step: OnStep | None = None,
) -> Profiled:
    """Measure latency, memory and operators of exported files, each in fresh processes.

    `on` is host, ssh:HOST, adb:SERIAL or emulated:CORE. `cpus` pins to these processors. `rate_hz` is how many
    inferences a second are asked for, 0 for back to back. `instructions` are counted on each of x86-64, cortex-a72 and
    cortex-a76 that is named. `compare` takes two files and shows what changed, operation by operation.

    Raises `TargetUnusable` where a file or the target cannot be measured, `TargetLost` where it went away meanwhile.
    """
    from mlopt.profiling import session

    paths = [path_of(file) for file in ([files] if isinstance(files, str | Path) else files)]
    if not paths:
        raise ValueError("profile takes at least one file")
    if compare and len(paths) != 2:
        raise ValueError(f"compare takes two files, before and after; got {len(paths)}")
    settings = session.Settings(
        threads=threads, cpus=tuple(cpus), rate_hz=rate_hz, runs=runs, instructions=tuple(instructions), seed=seed
    )
    return Profiled(profile=session.profile(paths, on, settings, on_step or _unheard), compared=compare)


def _run(request: CompressRequest, on_progress: OnProgress) -> Compressed:
    recipe = None if request.recipe is None else load_recipe(request.recipe)
    if recipe is not None:
        recipe = with_formats(recipe, request.model)
        request = request.following(recipe)
    chosen = wanted(request)
    require_extras(chosen)
    if request.track:
        extras.require("tracking", "--track")
    bundle.check_ours(request.out)
    store = Cache()
    with bundle.claimed(request.out, store.root / "locks"), Crew(store.root) as crew:
        work = Run(request, chosen, recipe, Workspace(crew=crew, store=store, on_progress=on_progress))
        bundle.check_room(request)
        material = work.go()
        report = finish.report(request, material)
        bundle.write(report, material, request.out)
        store.trim()
    return Compressed(folder=request.out, report=report)


def _framed(page: str, title: str) -> str:
    frame = escape(page, quote=True)
    return f'<iframe srcdoc="{frame}" title="{title}" style="width:100%;height:720px;border:0"></iframe>'


def _unheard(step: object) -> None:
    del step
