"""What this machine can tell apart: pairs of one file with itself, and the least tolerance that comes of it."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlopt import cache, files, plain
from mlopt.documents import content, json_value
from mlopt.gate.budget import BudgetError, LatencyBudget, Metric
from mlopt.gate.measuring import Measure, why_apart
from mlopt.gate.paired import OnPair, decide, differences
from mlopt.gate.rules import LOOKS
from mlopt.gate.verdict import Process
from mlopt.profiling.contract import DeviceFacts
from mlopt.quantities import Amount, Counted

SAFETY = 1.5    # an unchanged file passes such a tolerance in about 9 of 10 gates, one of a single floor in half
PAIRS = LOOKS[-1]
_LARGEST_BYTES = 16 << 20     # of one device's floors
FOLDER = "gate-noise-2"     # 2: of pairs in one process; an older floor is of another gate


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The noise of one file's percentile under one set of conditions on one device."""

    model: str
    metric: Metric
    growth: Amount           # what the last look cannot tell from no change, a fraction
    spread: Amount           # standard deviation of log(a / a) over the pairs
    mean: float              # of the same; 0 for a machine without drift inside a pair
    pairs: Counted
    device: str
    conditions: str


FloorOf = Callable[[str, str, LatencyBudget, Metric], Floor | None]     # model, target, ...


def floor_growth(differences_seen: Sequence[float], *, alpha: float, looks: Sequence[int] = LOOKS) -> float:
    """Half the width of the last look's interval, or the mean itself where that is larger; as a growth.

    The interval is at the size of the last look, whatever the number of A/A pairs that the spread was taken from.

    >>> round(floor_growth([0.03, -0.03] * 12, alpha=0.05), 4)
    0.0158
    """
    from scipy.special import stdtrit

    n = len(differences_seen)
    mean = math.fsum(differences_seen) / n
    spread = math.sqrt(math.fsum((d - mean) ** 2 for d in differences_seen) / (n - 1))
    half = float(stdtrit(looks[-1] - 1, 1 - alpha / len(looks))) * spread / math.sqrt(looks[-1])
    return math.expm1(max(half, abs(mean)))


def calibrate(
    file: Path, name: str, *, measure: Measure, facts: DeviceFacts, entry: LatencyBudget, metrics: Sequence[Metric],
    alpha: float, seed: int, pairs: int = PAIRS, on_pair: OnPair | None = None,
) -> tuple[tuple[Floor, ...], tuple[Process, ...]]:
    """Time `file` against itself in `pairs` pairs, measured as a gate measures them."""
    endless = dict.fromkeys(metrics, 0.0)
    measured = decide(file, file, measure=measure, tolerances=endless, alpha=alpha, seed=seed,
                      apart=why_apart(entry, file, file), looks=(pairs,), on_pair=on_pair)
    floors = []
    for metric in metrics:
        seen = differences(measured.processes, metric)
        floors.append(Floor(
            model=name, metric=metric, growth=floor_growth(list(map(float, seen)), alpha=alpha),
            spread=float(seen.std(ddof=1)), mean=float(seen.mean()), pairs=len(seen), device=facts.name,
            conditions=conditions_text(entry),
        ))
    return tuple(floors), measured.processes


def fingerprint(facts: DeviceFacts, target: str) -> str:
    """The device as far as its noise depends on it; frequencies and temperatures of the moment are left out."""
    parts = [target, facts.name, facts.system, facts.processor, sorted(facts.features), facts.cores, facts.governor]
    text = json.dumps(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def conditions_text(entry: LatencyBudget) -> str:
    """Of a latency, for a reader and as part of a key.

    >>> conditions_text(LatencyBudget(target="host", percentiles=(), threads=2, rate_hz=30))
    '2 threads, 30 a second'
    """
    threads = f"{entry.threads} thread{'s' if entry.threads > 1 else ''}"
    cpus = f" on CPU {','.join(map(str, entry.cpus))}" if entry.cpus else ""
    return f"{threads}{cpus}, {f'{entry.rate_hz:g} a second' if entry.rate_hz else 'back to back'}"


def remember(floors: Sequence[Floor], facts: DeviceFacts, target: str, root: Path | None = None) -> Path:
    """Keep the floors under the device's fingerprint, in place of earlier ones of the same file and conditions."""
    path = _path(facts, target, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = {(f.model, f.metric, f.conditions) for f in floors}
    kept = [f for f in recall(facts, target, root) if (f.model, f.metric, f.conditions) not in new]
    files.write_atomically(path, json.dumps(plain.to_plain([*kept, *floors]), indent=1).encode())
    return path


def recall(facts: DeviceFacts, target: str, root: Path | None = None) -> tuple[Floor, ...]:
    path = _path(facts, target, root)
    try:
        return plain.from_json(json_value(content(path, most_bytes=_LARGEST_BYTES)), tuple[Floor, ...])
    except FileNotFoundError:
        return ()
    except ValueError as err:
        raise BudgetError(path, 0, f"this is no calibration: {err}. Delete it and run `mlopt gate calibrate`") from err


def floor_for(floors: Sequence[Floor], model: str, entry: LatencyBudget, metric: Metric) -> Floor | None:
    """The file's own floor under these conditions, or the worst of other files on this device under the same."""
    same = [f for f in floors if f.metric is metric and f.conditions == conditions_text(entry)]
    own = [f for f in same if f.model == model]
    return max(own or same, key=lambda f: f.growth, default=None)


def refuse_below(floor: Floor, growth: float, *, model: str, budget: Path, line: int) -> None:
    """Raise `BudgetError` where `growth` is under 1.5 times the floor: the gate could not tell it from no change."""
    least = SAFETY * floor.growth
    if growth >= least:
        return
    whose = "" if floor.model == model else f" (measured with {floor.model})"
    needed = math.ceil(PAIRS * (least / growth) ** 2)
    raise BudgetError(
        budget, line,
        f"a tolerance of {growth * 100:.3g}% of {floor.metric} for {model} is below what {floor.device} can tell: "
        f"{floor.pairs} pairs of the same file differ with a spread of {floor.spread * 100:.2g}%{whose}, so the floor "
        f"is {floor.growth * 100:.2g}% and the least tolerance {least * 100:.2g}%. Raise it, raise `runs`, use a "
        f"quieter machine and calibrate again, or gate on `instructions`; {PAIRS} pairs would have to be {needed}",
    )


def _path(facts: DeviceFacts, target: str, root: Path | None) -> Path:
    return (root or cache.default_root() / FOLDER) / f"{fingerprint(facts, target)}.json"
