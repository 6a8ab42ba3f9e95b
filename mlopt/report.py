"""The result of a run: candidates with their measurements, and findings. JSON is the truth, the rest is a rendering."""

import enum
from dataclasses import dataclass, field
from typing import Any

from mlopt.artifact import Contract, StoredLayer
from mlopt.model import SourceModel
from mlopt.quantities import Amount, Count, Counted, Ratio, Score, Share

UNKNOWN = float("nan")   # not measured: it stands as null in JSON, and fails every comparison


class Severity(enum.StrEnum):
    NOTE = "note"          # worth knowing
    WARNING = "warning"    # a result is weaker than it looks
    FAILURE = "failure"    # a candidate was not made or not proven


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a reader must know: data unused, a layer skipped, a number that could not be measured, and why."""

    severity: Severity
    code: str              # stable and short, for machines: "unverified", "data-unused", "worker-crashed", ...
    about: str             # the candidate's "format/precision", "source", "data" or "host"
    message: str


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A two-sided 95 % confidence interval."""

    low: float = UNKNOWN
    high: float = UNKNOWN


@dataclass(frozen=True, kw_only=True)
class ClassDrop:
    """How one class, or one slice of the data, fares in the exported file."""

    name: str
    n: Count
    source: Score          # the metric of the source model on these samples
    value: Score           # the metric of the file
    drop: float            # source - value
    drop_interval: Interval = Interval()


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """Signal to noise at one tensor inside the file, against the same tensor of the float file of its format."""

    name: str
    sqnr_db: float


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time of one inference on this host, one thread, against the float file of the same format, interleaved."""

    p50_ms: Ratio = UNKNOWN
    ratio: Ratio = UNKNOWN                # median of the paired ratios to the float file; below 1 is faster
    ratio_interval: Interval = Interval()
    pairs: Count = 0                      # interleaved pairs timed, after the warm-up
    reason: str = ""                      # why it is unknown, when it is


@dataclass(frozen=True, kw_only=True)
class OutputParity:
    """How near one output comes to the source's, over all samples; `nan` where an output is not finite."""

    name: str
    kind: str                             # `mlopt.outputs.OutputKind`: what agreement means for it
    agreement: Share = UNKNOWN
    max_abs_error: Amount = UNKNOWN
    mean_abs_error: Amount = UNKNOWN
    sqnr_db: float = UNKNOWN              # 10 log10(sum reference^2 / sum error^2); infinite, in JSON null, when exact
    nonfinite: Count = 0                  # samples with a NaN or an infinity where the source has none


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Answers whose probability lies in one of 20 equal steps from 0 to 1; whole numbers, so that curves add up."""

    answers: Count
    right: Count
    probability: Count                    # the sum of theirs, in units of 2**-20


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was seen when a file ran in its own runtime on n samples, beside the source model on the same samples.

    `metric` names the task's metric: "top1" (share right), "auc" (area under the ROC curve), "r2" (variance
    explained), or "none" where there are no labels. `agreement` is the share of samples with the source's top-1, or,
    for outputs that are no class scores, with an output error of at most a tenth of the output's own size (20 dB).
    A sample of a model with several outputs agrees when each of them does; errors and SQNR are the worst output's.
    The interval of `worst_class` and `worst_slice` is widened for having picked the worst of many (Bonferroni); those
    in `classes` and `slices` are 95 % each.
    """

    runtime: str
    samples: str                          # "test", "holdout", "synthesised"
    n: Counted
    metric: str
    value: Score = UNKNOWN
    interval: Interval = Interval()
    drop: float = UNKNOWN                 # source metric - value, in the metric's own unit; 0.01 is one point of top-1
    drop_interval: Interval = Interval()
    agreement: Share = UNKNOWN
    agreement_interval: Interval = Interval()
    max_abs_error: Amount = UNKNOWN
    mean_abs_error: Amount = UNKNOWN
    sqnr_db: float = UNKNOWN
    worst_class: ClassDrop | None = None
    worst_slice: ClassDrop | None = None
    classes: tuple[ClassDrop, ...] = ()
    slices: tuple[ClassDrop, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()   # rows: label, columns: predicted; empty above 100 classes
    calibration_curve: tuple[CalibrationBin, ...] = ()      # of answers that labels can judge; else empty
    outputs: tuple[OutputParity, ...] = ()
    nonfinite: Count = 0                  # samples with a NaN or an infinity in any output: a failure
    notes: tuple[str, ...] = ()           # how outputs and labels were read, what was left out, and why


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One exported file. Where it could not be made, `path` is empty and a finding says why."""

    format: str
    precision: str
    about: str                            # when to choose it
    path: str = ""                        # relative to the bundle's folder
    sha256: str = ""
    bytes: Count = 0
    bytes_zipped: Count = 0
    verified: bool = False                # loaded, ran, and compared with the source in its own runtime
    evidence: Evidence | None = None
    latency: Latency = Latency()
    contract: Contract | None = None
    weights_by_dtype: dict[str, int] = field(default_factory=dict)
    ops_by_dtype: dict[str, int] = field(default_factory=dict)
    layers: tuple[StoredLayer, ...] = ()
    overhead_bytes: int = 0
    layer_errors: tuple[LayerError, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    recommended: bool = False
    on_pareto_front: bool = False         # no other candidate of its format is both smaller and nearer to the source
    meets_limit: bool = False
    reason: str = ""                      # why it is recommended, or why it is not


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The source model itself on the same samples, in its own framework."""

    samples: str
    n: Count
    metric: str
    value: Score = UNKNOWN
    interval: Interval = Interval()
    confusion: tuple[tuple[int, ...], ...] = ()
    calibration_curve: tuple[CalibrationBin, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Where samples came from; empty source means that there were none."""

    role: str                             # "calibration", "test"
    source: str
    count: Count
    fingerprint: str                      # sha256 over the arrays as stored
    origin: str                           # "given" or "synthesised"
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Host:
    """The machine that measured; its latencies are never a phone's."""

    processor: str
    features: tuple[str, ...]             # those that decide integer speed: "avx2", "fma", "avx512_vnni", ...
    cores: Count
    system: str
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What the user asked for: the largest drop of `metric`, or the smallest agreement where there are no labels."""

    measure: str                          # "drop" or "agreement"
    bound: float
    met: bool
    nearest: str = ""                     # "format/precision" of the nearest miss, when nothing met it


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """One finished step of a recipe. `validation` is accuracy, or minus the loss where there are no classes."""

    name: str
    settings: dict[str, Any]
    seconds: Amount                       # of this step's own work, whenever it was done
    epochs: Count = 0                     # trained, over all its trainings
    validation_before: float = UNKNOWN    # of the model in the framework, on the validation samples
    validation: float = UNKNOWN
    validation_samples: Count = 0
    macs_before: Count = 0
    macs: Count = 0
    parameters_before: Count = 0
    parameters: Count = 0
    nonzero: Count = 0                    # parameters that are not 0
    waiting: Amount = UNKNOWN              # share of the training's time in which it waited for data
    samples_per_second: Amount = UNKNOWN
    replicas: Counted = 1
    resumed_at: Count = 0                 # the training step at which a killed run was continued; 0: it was not
    history: tuple[dict[str, Any], ...] = ()          # one an epoch
    facts: dict[str, Any] = field(default_factory=dict)        # the step's own, e.g. widths before and after
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The recipe that was carried out before anything was exported."""

    recipe: str                           # its name, or its file's
    about: str
    sha256: str                           # of the recipe as it was read
    train: str                            # where the training samples came from
    train_samples: Count
    validation_samples: Count
    steps: tuple[StepFacts, ...]
    seconds: Amount                       # of all steps' own work


@dataclass(frozen=True, kw_only=True)
class Report:
    source: SourceModel
    baseline: Baseline
    data: tuple[DataFacts, ...]
    host: Host
    limit: Limit
    candidates: tuple[Candidate, ...]
    findings: tuple[Finding, ...]
    class_names: tuple[str, ...] = ()
    seed: int = 0
    trained: Trained | None = None        # None: no recipe was asked for
    schema: int = 1
