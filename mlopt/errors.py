"""Everything that mlopt raises on purpose.

    MloptError                 a sound request that the world refused
    ├── BadRequest             settings that make no sense together or for this model
    ├── ModelUnreadable        missing, empty, truncated, of another kind, without weights, with NaN weights
    ├── UntrustedCode          opening the model would run code, read files, or build what is not known
    ├── UnsupportedOps         a target cannot express some layers
    ├── DataUnreadable         a data source that cannot be read
    ├── DataMismatch           data that does not fit the model's signature
    ├── TrainingDiverged       a loss or a weight stopped being a number
    ├── OutputUnwritable       the place to write to is missing, full, read-only or somebody else's
    ├── MissingExtra           an optional package is not installed
    ├── OutOfReach             a worker was kept from a file or from the network
    └── WorkerFailed           a worker process ended without an answer
        ├── WorkerCrashed      by a signal or out of memory, or with a traceback that is a bug
        └── WorkerTimeout      past its deadline

    profiling/target.py        TargetLost, a device that does not answer any more, and TargetUnusable
    configuration/values.py    ConfigurationInvalid, of a file in which people write what they want
    recipe/load.py             ├── RecipeInvalid
    gate/budget.py             └── BudgetError, also of a report or baseline that nothing can be judged by

Each class says what the command line exits with; `mlopt gate` makes a verdict of what it could not measure.
`ValueError` is for a bad argument and `assert` for our own bugs. An error carries its facts as attributes, and its
sentence says what was found and what to do.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlopt.exits import Exit

DISTRIBUTION = "mlopt-edge"      # what pip calls this project; the name `mlopt` is another one's there


def install_command(extra: str) -> str:
    """What a user types to get the packages of an extra.

    >>> install_command("tflite")
    "pip install 'mlopt-edge[tflite]'"
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"


class MloptError(Exception):
    """Base of everything a caller may want to catch."""

    @property
    def exit(self) -> Exit:
        """What a command ends with that this ended."""
        return Exit.BAD_INPUT

    def facts(self) -> dict[str, Any]:
        """The attributes, as plain values that survive a trip between processes."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in vars(self).items()}

    @classmethod
    def restored(cls, message: str, facts: Mapping[str, Any]) -> "MloptError":
        """The error as another process raised it: same class, sentence and facts."""
        error = cls.__new__(cls)
        Exception.__init__(error, message)
        vars(error).update(facts)
        return error


class BadRequest(MloptError, ValueError):
    """Settings that make no sense, together or for this model; the sentence says which and what to do."""


class ModelUnreadable(MloptError):
    def __init__(self, path: Path | str, found: str, remedy: str = "") -> None:
        self.path, self.found, self.remedy = str(path), found, remedy
        super().__init__(f"{path}: {found}." + (f" {remedy}" if remedy else ""))


class UntrustedCode(MloptError):
    """Opening would run code or read files that the model carries or names, or build what mlopt does not know.

    `layers` maps each place in the model to what was found there.
    """

    def __init__(self, path: Path | str, layers: Mapping[str, str], remedy: str) -> None:
        self.path, self.layers, self.remedy = str(path), dict(layers), remedy
        found = ", ".join(f"{name} ({kind})" for name, kind in layers.items())
        super().__init__(f"{path} holds code, or what mlopt does not know: {found}. Nothing was run. {remedy}")


class UnsupportedOps(MloptError):
    """`layers_by_op` maps an operation to the layers that need it."""

    def __init__(self, target: str, layers_by_op: Mapping[str, Sequence[str]], remedy: str = "") -> None:
        self.target, self.layers_by_op = target, {op: list(layers) for op, layers in layers_by_op.items()}
        found = "; ".join(f"{op} in {', '.join(layers)}" for op, layers in sorted(layers_by_op.items()))
        super().__init__(f"{target} cannot express {found}." + (f" {remedy}" if remedy else ""))


class UnsupportedPair(MloptError):
    """`format` has no exporter for models of `framework`; it has for those of `exported`."""

    def __init__(self, format: str, framework: str, exported: Sequence[str]) -> None:
        self.format, self.framework, self.exported = format, framework, list(exported)
        known = f"it writes those of {', '.join(exported)}" if exported else "it writes those of no framework"
        super().__init__(f"{format} has no exporter for {framework} models; {known}.")


class DataUnreadable(MloptError):
    def __init__(self, source: Path | str, found: str, remedy: str = "") -> None:
        self.source, self.found, self.remedy = str(source), found, remedy
        super().__init__(f"{source}: {found}." + (f" {remedy}" if remedy else ""))


class DataMismatch(MloptError):
    """`wanted` is what the model's signature asks for, `found` what the data holds."""

    def __init__(self, source: Path | str, wanted: str, found: str, remedy: str = "") -> None:
        self.source, self.wanted, self.found, self.remedy = str(source), wanted, found, remedy
        sentence = f"{source}: the model takes {wanted}; the data has {found}."
        super().__init__(sentence + (f" {remedy}" if remedy else ""))


class TrainingDiverged(MloptError):
    """`step` counts from 1. What was saved before it stands in `checkpoints`."""

    def __init__(self, step: int, learning_rate: float, checkpoints: str) -> None:
        self.step, self.learning_rate, self.checkpoints = step, learning_rate, checkpoints
        super().__init__(
            f"the training diverged: at step {step:,} the loss is not a number, at a learning rate of"
            f" {learning_rate:.3g}. Lower the learning rate; if that does not help, look at the range of the inputs."
        )


class OutputUnwritable(MloptError):
    def __init__(self, path: Path | str, found: str, remedy: str = "") -> None:
        self.path, self.found, self.remedy = str(path), found, remedy
        super().__init__(f"cannot write {path}: {found}." + (f" {remedy}" if remedy else ""))


class OutOfReach(MloptError):
    """`wanted` is a path, or "the network"; `task` says in words what the worker was doing."""

    def __init__(self, task: str, wanted: str) -> None:
        self.task, self.wanted = task, wanted
        super().__init__(
            f"{task}: the worker process was kept from {wanted}. Workers that open model files reach their own folder, "
            "what they were given to read, and no network (`mlopt doctor` says which protections hold here). If you "
            "trust the model and all code that it needs, set MLOPT_SANDBOX=0."
        )


class MissingExtra(MloptError):
    def __init__(self, extra: str, packages: Sequence[str], purpose: str) -> None:
        self.extra, self.packages, self.purpose = extra, list(packages), purpose
        are = "is" if len(packages) == 1 else "are"
        super().__init__(f"{purpose} needs {', '.join(packages)}, which {are} not installed: {install_command(extra)}")


class WorkerFailed(MloptError):
    """`task` says in words what the worker was doing."""

    task: str

    @property
    def exit(self) -> Exit:
        """Lost: the same work may well succeed when it is done again."""
        return Exit.LOST


class WorkerCrashed(WorkerFailed):
    """`killed`: by a signal, or out of memory; else by a bug."""

    def __init__(self, task: str, how: str, last_words: str = "", *, killed: bool = False) -> None:
        self.task, self.how, self.last_words, self.killed = task, how, last_words, killed
        super().__init__(f"{task}: the worker process {how}" + (f"\n{last_words}" if last_words else ""))

    @property
    def exit(self) -> Exit:
        return Exit.LOST if self.killed else Exit.BUG


class WorkerTimeout(WorkerFailed):
    def __init__(self, task: str, deadline_s: float) -> None:
        self.task, self.deadline_s = task, deadline_s
        super().__init__(f"{task}: stopped after its deadline of {deadline_s:g} s")
