"""A file's outputs beside the source's, gathered batch by batch, so that any number of samples fits in memory."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from mlopt.outputs import Output, OutputKind
from mlopt.report import UNKNOWN, Baseline, ClassDrop, Evidence, OutputParity
from mlopt.verify.calibration import CalibrationTally
from mlopt.verify.groups import MOST_ROUNDS, ClassTally, slice_drops, worst
from mlopt.verify.intervals import share_interval
from mlopt.verify.metrics import decisions, per_sample, top_classes
from mlopt.verify.scoring import ANSWERS, Truth, confusion_counts, confusion_size, measure, sample_scores
from mlopt.verify.task import Scoring, Task

AGREEING_ERROR = 0.1       # of the output's own size: 20 dB
_CHUNK_BYTES = 32_000_000  # of float64 outputs at once

Inputs = Callable[[int, int], Mapping[str, np.ndarray]]


class OutputErrors:
    """Errors of one output against the source's, summed in float64."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.agreeing = 0.0
        self.samples = self.elements = self.nonfinite = 0
        self.largest = self.absolute = self.squared = self.power = 0.0

    def add(self, reference: np.ndarray, output: np.ndarray) -> np.ndarray:
        """Take one batch [n, ...] of both; gives how far each sample agrees, [n] in [0, 1].

        A sample whose output is not finite agrees not at all, and counts as a failure where the source's is finite.
        """
        n = len(reference)
        ours, theirs = reference.reshape(n, -1).astype(np.float64), output.reshape(n, -1).astype(np.float64)
        sound_reference, sound_output = np.isfinite(ours).all(axis=1), np.isfinite(theirs).all(axis=1)
        sound = sound_reference & sound_output
        self.nonfinite += int((sound_reference & ~sound_output).sum())
        self.samples += n
        errors = ours[sound] - theirs[sound]
        if errors.size:
            self.elements += errors.size
            self.largest = max(self.largest, float(np.abs(errors).max()))
            self.absolute += float(np.abs(errors).sum())
            self.squared += float((errors**2).sum())
            self.power += float((ours[sound] ** 2).sum())
        agrees = np.zeros(n)
        if self.output.kind is OutputKind.CLASSES:
            agrees[sound] = per_sample(top_classes(reference[sound]) == top_classes(output[sound]))
        elif self.output.kind is OutputKind.BINARY:
            threshold = self.output.threshold
            same = decisions(reference[sound], threshold) == decisions(output[sound], threshold)
            agrees[sound] = per_sample(same)
        else:
            size = np.sqrt((ours[sound] ** 2).sum(axis=1))
            agrees[sound] = np.sqrt((errors**2).sum(axis=1)) <= AGREEING_ERROR * size
        self.agreeing += float(agrees.sum())
        return agrees

    def result(self) -> OutputParity:
        name, kind = self.output.name, self.output.kind.value
        agreement = self.agreeing / self.samples if self.samples else UNKNOWN
        if self.nonfinite or not self.elements:
            return OutputParity(name=name, kind=kind, agreement=agreement, nonfinite=self.nonfinite)
        return OutputParity(
            name=name, kind=kind, agreement=agreement, max_abs_error=self.largest,
            mean_abs_error=self.absolute / self.elements, sqnr_db=decibels(self.power, self.squared),
        )


class Comparison:
    """Everything that is said about one file, from batches added in the order of the samples."""

    def __init__(
        self,
        task: Task,
        reference: Mapping[str, np.ndarray],
        *,
        labels: np.ndarray | None = None,
        slices: Mapping[str, np.ndarray] | None = None,
        class_names: tuple[str, ...] = (),
        seed: int = 0,
    ) -> None:
        main = reference[task.main.name]
        self.task, self.reference, self.seed = task, reference, seed
        self.slices = dict(slices or {})
        self.truth = Truth.of(task, labels, main)
        self.n = len(main)
        self.done = 0
        self.errors = {o.name: OutputErrors(o) for o in task.outputs}
        self.agreement = np.full(self.n, UNKNOWN)
        self.source_scores = np.full(self.n, UNKNOWN)
        self.scores = np.full(self.n, UNKNOWN)
        size = confusion_size(task, main) if self.truth.labels is not None else 0
        self.confusion = np.zeros((size, size), dtype=np.int64)
        judged = self.truth.labels is not None and self.task.scoring in ANSWERS
        self.calibration = CalibrationTally(task.main) if judged else None
        self.classes = ClassTally(main.shape[-1], class_names) if task.scoring is Scoring.TOP_CLASS else None

    def add(self, outputs: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray] | None = None) -> None:
        """The file's outputs [n, ...] by name for the next n samples; `inputs` where the task reconstructs them."""
        main = self.task.main.name
        rows = slice(self.done, self.done + len(outputs[main]))
        self.done = rows.stop
        agreement = [e.add(self.reference[name][rows], outputs[name]) for name, e in self.errors.items()]
        self.agreement[rows] = np.min(agreement, axis=0)
        if self.truth.labels is None:
            return
        labels, source = self.truth.labels[rows], np.asarray(self.reference[main][rows])
        self.source_scores[rows] = sample_scores(self.task, labels, source, inputs)
        self.scores[rows] = sample_scores(self.task, labels, outputs[main], inputs)
        if self.confusion.size:
            self.confusion += confusion_counts(self.task, labels, outputs[main])
        if self.calibration is not None:
            self.calibration.add(labels, outputs[main])
        if self.classes is not None:
            self.classes.add(labels, top_classes(source), top_classes(outputs[main]))

    def evidence(self, *, runtime: str, samples: str) -> Evidence:
        """What was seen; every sample must have been added."""
        if self.done != self.n:
            raise ValueError(f"{self.done} of {self.n} samples were added")
        measured = measure(self.task, self.truth, self.source_scores, self.scores, seed=self.seed)
        outputs = tuple(e.result() for e in self.errors.values())
        classes, class_notes = self.classes.drops() if self.classes is not None else ((), ())
        slices, slice_notes = slice_drops(
            self.task, self.truth, self.source_scores, self.scores, self.slices, seed=self.seed
        )
        return Evidence(
            runtime=runtime, samples=samples, n=self.n, metric=self.task.metric,
            value=measured.value, interval=measured.interval,
            drop=measured.drop, drop_interval=measured.drop_interval,
            agreement=float(self.agreement.mean()) if self.n else UNKNOWN,
            agreement_interval=share_interval(self.agreement),
            max_abs_error=float(np.max([o.max_abs_error for o in outputs])),     # nan wins: it is a failure
            mean_abs_error=float(np.max([o.mean_abs_error for o in outputs])),
            sqnr_db=float(np.min([o.sqnr_db for o in outputs])),
            worst_class=self._worst_class(classes),
            worst_slice=self._worst_slice(slices),
            classes=classes, slices=slices,
            confusion=tuple(tuple(int(c) for c in row) for row in self.confusion),
            calibration_curve=self.calibration.curve() if self.calibration is not None else (),
            outputs=outputs,
            nonfinite=max(o.nonfinite for o in outputs),
            notes=(*self.task.notes, *class_notes, *slice_notes),
        )

    def _worst_class(self, classes: tuple[ClassDrop, ...]) -> ClassDrop | None:
        found, level = worst(classes)
        return self.classes.drop(found.name, level) if found and self.classes is not None else None

    def _worst_slice(self, slices: tuple[ClassDrop, ...]) -> ClassDrop | None:
        found, level = worst(slices)
        if found is None:
            return None
        widened, _ = slice_drops(
            self.task, self.truth, self.source_scores, self.scores, self.slices,
            seed=self.seed, level=level, only=found.name, rounds=min(len(slices), MOST_ROUNDS),
        )
        return widened[0]


def compare(
    reference: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    *,
    task: Task,
    runtime: str,
    samples: str,
    labels: np.ndarray | None = None,
    slices: Mapping[str, np.ndarray] | None = None,
    inputs: Inputs | None = None,
    class_names: tuple[str, ...] = (),
    seed: int = 0,
) -> Evidence:
    """Compare arrays [N, ...] by output name, which may be memory-mapped; read in chunks.

    `inputs(start, stop)` gives those rows of the inputs; only reconstruction errors need it.
    """
    comparison = Comparison(task, reference, labels=labels, slices=slices, class_names=class_names, seed=seed)
    for start, stop in chunks(reference):
        rows = {name: np.asarray(outputs[name][start:stop]) for name in reference}
        comparison.add(rows, inputs(start, stop) if inputs and task.scoring is Scoring.RECONSTRUCTION else None)
    return comparison.evidence(runtime=runtime, samples=samples)


def measure_source(
    reference: Mapping[str, np.ndarray],
    *,
    task: Task,
    samples: str,
    labels: np.ndarray | None = None,
    inputs: Inputs | None = None,
    seed: int = 0,
) -> Baseline:
    """The source model's own metric on the same samples, from its outputs."""
    main = reference[task.main.name]
    truth = Truth.of(task, labels, main)
    scores = np.full(len(main), UNKNOWN)
    size = confusion_size(task, main) if truth.labels is not None else 0
    confusion = np.zeros((size, size), dtype=np.int64)
    calibration = CalibrationTally(task.main) if truth.labels is not None and task.scoring in ANSWERS else None
    for start, stop in chunks({task.main.name: main}) if truth.labels is not None else ():
        rows = np.asarray(main[start:stop])
        wanted = truth.labels[start:stop] if truth.labels is not None else None
        fed = inputs(start, stop) if inputs and task.scoring is Scoring.RECONSTRUCTION else None
        scores[start:stop] = sample_scores(task, wanted, rows, fed)
        if size:
            confusion += confusion_counts(task, wanted, rows)
        if calibration is not None and wanted is not None:
            calibration.add(wanted, rows)
    measured = measure(task, truth, scores, scores, seed=seed)
    return Baseline(
        samples=samples, n=len(main), metric=task.metric, value=measured.source, interval=measured.source_interval,
        confusion=tuple(tuple(int(c) for c in row) for row in confusion),
        calibration_curve=calibration.curve() if calibration is not None else (),
    )


def decibels(power: float, noise: float) -> float:
    """10 log10(power / noise); infinite without noise, `nan` without either.

    >>> decibels(100.0, 1.0), decibels(1.0, 0.0), decibels(0.0, 0.0)
    (20.0, inf, nan)
    """
    if noise == 0:
        return float("inf") if power > 0 else UNKNOWN
    return float(10 * np.log10(power / noise)) if power > 0 else float("-inf")


def chunks(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[int, int]]:
    """Row ranges over arrays of equal length, each small enough to be held as float64."""
    count = len(next(iter(arrays.values())))
    bytes_each = max(1, sum(8 * int(np.prod(a.shape[1:])) for a in arrays.values()))
    size = max(1, _CHUNK_BYTES // bytes_each)
    for start in range(0, count, size):
        yield start, min(start + size, count)
