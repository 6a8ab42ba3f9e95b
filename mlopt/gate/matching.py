"""Which file falls under which budgets, and which file it is compared with. What nothing matches is an error."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlopt import files
from mlopt.gate.budget import Budget, BudgetError, ModelBudget


@dataclass(frozen=True, kw_only=True)
class Model:
    """One file to judge."""

    name: str                            # its path, relative to the budget file where it lies below it
    path: Path
    digest: str
    budgets: tuple[ModelBudget, ...]
    baseline: Path | None = None         # the file that it is compared with
    baseline_digest: str = ""


def match(budget: Budget, given: Sequence[Path], baseline: Path | None) -> tuple[tuple[Model, ...], tuple[str, ...]]:
    """The files under budgets, in order, and notes on what was left out.

    Without `given`, the globs are looked up below the budget's folder, and each must find something. Hidden folders and
    the baseline's own are left out, unless a glob names a hidden one.
    """
    root = budget.path.parent
    notes: list[str] = []
    if given:
        paths = {name_of(path, root): path for path in given}
        for entry in budget.models:
            if not any(matches(entry.model, name) for name in paths):
                notes.append(f"line {entry.line}: no file given matches {entry.model!r}; it was not checked")
    else:
        paths = {name: path for entry in budget.models for name, path in _below(root, entry, budget, baseline)}
    models = tuple(
        _model(name, path, budget, baseline=baseline, count=len(paths))
        for name, path in sorted(paths.items())
    )
    return models, tuple(notes)


def name_of(path: Path, root: Path) -> str:
    """The name that globs see and a baseline keeps: relative to the budget where the file lies below it."""
    # resolve() would follow a link out of the folder, and the name would not be the one that the user gave
    absolute, folder = (Path(os.path.normpath(Path.cwd() / p)) for p in (path, root))
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else path.as_posix()


def matches(glob: str, name: str) -> bool:
    """`*` and `?` stay within a folder, `**` crosses folders; a glob without a slash is held against the file's name.

    >>> matches("build/kws*.tflite", "build/kws_int8.tflite"), matches("build/*.tflite", "build/old/kws.tflite")
    (True, False)
    >>> matches("**/*.tflite", "build/old/kws.tflite"), matches("*.tflite", "build/kws.tflite")
    (True, True)
    """
    if "/" not in glob:
        name = name.rpartition("/")[2]
    return re.fullmatch(_expression(glob.removeprefix("./")), name) is not None


def _expression(glob: str) -> str:
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(pieces.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*\*|\*|\?)", glob))


def _below(root: Path, entry: ModelBudget, budget: Budget, baseline: Path | None) -> list[tuple[str, Path]]:
    if Path(entry.model).is_absolute() or ".." in Path(entry.model).parts:
        outside = f"{entry.model!r} leaves the budget's folder: give such files on the command line"
        raise BudgetError(budget.path, entry.line, outside)
    pattern = entry.model.removeprefix("./")
    accepted = baseline.resolve() if baseline is not None and baseline.is_dir() else None
    found = [
        path for path in sorted(root.glob(pattern if "/" in pattern else f"**/{pattern}"))
        if (path.is_file() or path.suffix == ".mlpackage")
        and (accepted is None or not path.resolve().is_relative_to(accepted))
        and ("/." in f"/{pattern}" or not any(part.startswith(".") for part in path.relative_to(root).parts))
    ]
    if not found:
        missing = f"no file matches {entry.model!r} below {root}. Build the models first, or give the files to check"
        raise BudgetError(budget.path, entry.line, missing)
    return [(name_of(path, root), path) for path in found]


def _model(name: str, path: Path, budget: Budget, *, baseline: Path | None, count: int) -> Model:
    budgets = tuple(m for m in budget.models if matches(m.model, name))
    if not budgets:
        globs = ", ".join(repr(m.model) for m in budget.models)
        raise BudgetError(budget.path, 0, f"no budget matches {name!r}; there are {globs}")
    _refuse_what_is_no_file(path, "there is no such file")
    old = _baseline(name, path, baseline, count)
    return Model(name=name, path=path, digest=_digest(path), budgets=budgets, baseline=old,
                 baseline_digest=_digest(old) if old else "")


def _digest(path: Path) -> str:
    try:
        return files.digest(path)
    except files.NotRegular as err:
        raise BudgetError(Path(err.filename), 0, f"it is {err.strerror}") from err
    except OSError as err:
        raise BudgetError(Path(err.filename or path), 0, f"it cannot be read: {err.strerror}") from err


def _baseline(name: str, path: Path, baseline: Path | None, count: int) -> Path | None:
    """The file itself, or the one of the same relative or plain name in a folder; None where the folder has none."""
    if baseline is None:
        return None
    if baseline.is_dir() and baseline.suffix != ".mlpackage":
        places = [baseline / name, baseline / path.name]
        found = next((place for place in places if place.exists()), None)
        if found is not None:
            _refuse_what_is_no_file(found, "")
        return found
    _refuse_what_is_no_file(baseline, "there is no such baseline. Give the file or the folder of the accepted models")
    if count > 1:
        several = f"one baseline file for {count} models: give a folder with files of the same names"
        raise BudgetError(baseline, 0, several)
    return baseline


def _refuse_what_is_no_file(path: Path, absent: str) -> None:
    """A pipe or a device may never end: it is refused before anybody opens it."""
    if not path.exists():
        raise BudgetError(path, 0, absent)
    if not (path.is_file() or (path.is_dir() and path.suffix == ".mlpackage")):
        raise BudgetError(path, 0, "it is a folder, a pipe or a device, and no model file")
