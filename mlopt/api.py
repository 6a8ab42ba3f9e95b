"""The notebook surface: each call is one whole job, done in worker processes whatever the caller has imported."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from mlopt.cache import Cache
from mlopt.model import SourceModel
from mlopt.pipeline import bundle, finish, opening
from mlopt.pipeline.progress import OnProgress, Progress
from mlopt.pipeline.request import CompressRequest, wanted
from mlopt.pipeline.run import Run, require_extras
from mlopt.render import terminal
from mlopt.render.html.page import to_html
from mlopt.report import Candidate, Report
from mlopt.worker import Crew


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
        page = escape(to_html(self.report), quote=True)
        return f'<iframe srcdoc="{page}" title="mlopt report" style="width:100%;height:720px;border:0"></iframe>'


def load(
    model: str | Path,
    *,
    trust_code: bool = False,
    custom_objects: Sequence[str] = (),
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> SourceModel:
    """Open a trained model and say what it is: signature, layers, sizes. Runs no code of the file's.

    Raises `ModelUnreadable`, or `UntrustedCode` where the file carries code and `trust_code` is not set.
    """
    request = CompressRequest(
        model=Path(model), out=Path(model), trust_code=trust_code, custom_objects=tuple(custom_objects),
        input_shapes=input_shapes or {},
    )
    with Crew() as crew:
        return opening.describe(request, crew, Cache())


def compress(
    model: str | Path,
    *,
    data: str | Path | None = None,
    test: str | Path | None = None,
    out: str | Path | None = None,
    formats: Sequence[str] = (),
    precisions: Sequence[str] = (),
    max_drop: float = 0.01,
    trust_code: bool = False,
    custom_objects: Sequence[str] = (),
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    normalise: tuple[float, float] | None = None,
    resize: bool = False,
    slice_columns: Sequence[str] = (),
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Compressed:
    """Write `model` in every format and precision asked for, prove each file, time it, and recommend.

    `data` holds samples to calibrate on and `test` labelled ones to measure on: a path, or "package.module:function".
    Without `test` a part of `data` is held out; without either, inputs are synthesised from the model itself.
    `out` is the bundle's folder, by default NAME-mlopt beside the model. `max_drop` is the largest loss of the task's
    metric that a recommended file may have, as a fraction: 0.01 is one point; without labels, 1 - agreement.
    `normalise` is what the pixel values 0..255 become, e.g. (0, 1); by default they stay.

    Raises an `MloptError` for anything in the model, the data or the folder that stands in the way.
    """
    path = Path(model)
    folder = Path(out) if out is not None else default_folder(path)
    request = CompressRequest(
        model=path, out=folder, data=None if data is None else str(data), test=None if test is None else str(test),
        formats=tuple(formats), precisions=tuple(precisions), max_drop=max_drop, trust_code=trust_code,
        custom_objects=tuple(custom_objects), input_shapes=input_shapes or {}, normalise=normalise, resize=resize,
        slice_columns=tuple(slice_columns), seed=seed,
    )
    return run(request, on_progress or _silent)


def run(request: CompressRequest, on_progress: OnProgress) -> Compressed:
    """Carry out a request: the one road that the command line and notebooks share."""
    chosen = wanted(request)
    require_extras(chosen)
    bundle.check_ours(request.out)
    store = Cache()
    with bundle.claimed(request.out, store.root / "locks"), Crew() as crew:
        work = Run(request, chosen, crew, store, on_progress)
        bundle.check_room(request)
        material = work.go()
        report = finish.report(request, material)
        bundle.write(report, material, request.out)
        store.trim()
    return Compressed(folder=request.out, report=report)


def default_folder(model: Path) -> Path:
    """Beside the model, named after it.

    >>> str(default_folder(Path("nets/model.h5")))
    'nets/model-mlopt'
    """
    named = model if model.name else model.absolute()      # "." is a SavedModel folder that one stands in
    return named.with_name(f"{named.stem}-mlopt")


def _silent(progress: Progress) -> None:
    del progress
