"""What goes to a device and what comes back: one request file in, one result file out, whoever runs it.

Our Python runner, our native runner and an app on a phone all speak it: read `request.json`, measure in a process that
did nothing before, write `result.json` under a temporary name and rename it. A result that is not there, or that does
not carry the request's nonce, is a lost measurement and never a pass.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from mlopt import plain
from mlopt.documents import json_value
from mlopt.quantities import Amount, Count, Counted, MaybeCount

SCHEMA = 1
LARGEST_RESULT = 256 << 20    # bytes of a result: a million runs, or ten thousand operators, have less


class Arrival(StrEnum):
    """How inferences follow each other."""

    BACK_TO_BACK = "back-to-back"      # the next starts when the last ends: service time
    FIXED_RATE = "fixed-rate"          # one every 1/rate_hz s; time counts from the scheduled start, so queueing shows


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One measurement of one file in one fresh process, or of two files that take turns in it.

    With `beside`, both are loaded and warmed up, then timed back to back in bursts of about 2 ms that take turns, so
    that what slows the device for a while slows both. `runs` and `most_seconds` apply to each of the two. Which file is
    loaded first, and which begins in each pair of bursts, comes from `order_seed`. The first inference of a burst, for
    which caches are cold, is not timed unless it takes 20 ms or more. A runner that cannot do this answers without
    `beside_samples_us`.
    """

    file: str                          # where the model lies on the device
    format: str                        # "tflite", "onnx", ...
    nonce: str                         # comes back in the result
    threads: int = 1
    cpus: tuple[int, ...] = ()         # pin to these; empty: do not pin
    arrival: Arrival = Arrival.BACK_TO_BACK
    rate_hz: float = 0.0               # for a fixed rate
    runs: int = 200                    # timed, after the warm-up
    least_warmup_runs: int = 5
    most_seconds: float = 20.0         # stop timing after that, with the runs there are
    operators: bool = False            # also profile operators, in runs of their own
    memory: bool = True
    seed: int = 0                      # of the input values
    beside: str = ""                   # a second file of the same format on the device; empty: none
    order_seed: int = 0                # of the order in which two files are loaded and take turns
    schema: int = SCHEMA


@dataclass(frozen=True, kw_only=True)
class PhaseTimes:
    """Milliseconds before the steady state; nan where a runtime does not tell them apart."""

    import_ms: Amount = float("nan")   # loading the runtime's code
    load_ms: Amount = float("nan")     # reading the model
    compile_ms: Amount = float("nan")  # allocating tensors, packing weights, building the plan
    first_ms: Amount = float("nan")    # the first inference


@dataclass(frozen=True, kw_only=True)
class OperatorTime:
    """One operation of the model as the runtime executed it, averaged over the profiled runs."""

    index: Count                       # order of execution
    name: str                          # the runtime's own, e.g. "Convolution (NHWC, QC8) IGEMM"
    op: str                            # the format's operation, e.g. "CONV_2D"; "" where the runtime fused several
    layer: str                         # the file's name for it; "" where it keeps none
    unit: str                          # "XNNPACK", "builtin", "CPUExecutionProvider", ...
    mean_us: Amount
    runs: Count


@dataclass(frozen=True, kw_only=True)
class MemoryBytes:
    """What one model takes in a clean process; -1 where this device or runtime does not tell."""

    file: MaybeCount = -1
    weights: MaybeCount = -1           # constant tensors
    arena: MaybeCount = -1             # span of the activation tensors
    heap_delta: int = -1               # allocator's bytes in use, after minus before
    peak_delta: int = -1               # highest resident memory of load + compile + run, above the empty runner's
    pss: MaybeCount = -1               # proportional set size at the end, of our native runner (Android)


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """The device as it names itself; latencies belong to it and to nothing else."""

    name: str                          # "Pixel 7, Android 15", "Raspberry Pi 4, Debian 12", the processor of a host
    system: str
    processor: str
    features: tuple[str, ...] = ()     # "avx512_vnni", "asimddp", ...
    cores: Count = 0
    governor: str = ""                 # cpufreq governor; "" where it is not told
    frequency_khz: tuple[int, ...] = ()         # current, per core, at the end
    temperature_c: float = float("nan")         # the hottest zone at the end
    throttled: bool = False            # a fixed piece of arithmetic took over 5 % longer after than before
    runtime: str = ""                  # "LiteRT 2.3.0"
    runner: str = ""                   # which runner measured, with its version


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What one fresh process saw. Times are raw: every timed run is here, none is dropped.

    Memory, operators and warm-up are the first file's; phases are unknown where two took turns.
    """

    nonce: str
    facts: DeviceFacts
    phases: PhaseTimes
    warmup_runs: Count
    samples_us: tuple[float, ...]      # of one inference, in order; the mean of a batch where there is one
    beside_samples_us: tuple[float, ...] = ()   # the same of the second file, as many
    burst: Count = 0                   # samples of one file before the other's turn; the last burst may hold fewer
    batch_per_sample: Counted = 1      # inferences in one sample; above 1 for models of under 20 us
    missed_deadlines: Count = 0        # at a fixed rate: runs that started late
    context_switches: MaybeCount = -1  # involuntary, during the timed runs
    memory: MemoryBytes = MemoryBytes()
    operators: tuple[OperatorTime, ...] = ()
    operators_invoke_us: Amount = float("nan")  # mean time of a profiled inference, profiling included
    notes: tuple[str, ...] = ()        # what a setting did not do here, and why
    error: str = ""                    # why there is nothing, in the runtime's own words
    schema: int = SCHEMA
    extra: dict[str, str] = field(default_factory=dict)


def result_of(text: bytes) -> RunResult:
    """What a runner wrote, ours or another's. Raises `ValueError` for what no runner can have measured.

    >>> result_of(b'{"nonce": "a"}')
    Traceback (most recent call last):
    msgspec.ValidationError: Object missing required field `facts`
    """
    return plain.from_json(json_value(text, nan_allowed=True), RunResult)
