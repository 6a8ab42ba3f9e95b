"""What a gate found: one check for each limit of each file, and what the whole of them means."""

from dataclasses import dataclass
from enum import StrEnum

from mlopt.exits import Exit
from mlopt.gate.units import Unit

SCHEMA = 1
UNKNOWN = float("nan")


class Status(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"                    # it could not be measured
    INCONCLUSIVE = "inconclusive"      # it was measured, and the noise leaves both answers open
    WAIVED = "waived"                  # broken, and let through until a day


@dataclass(frozen=True, kw_only=True)
class Process:
    """The raw times of one side in one fresh process."""

    side: str                          # "new" or "baseline"
    pair: int                          # -1: in no pair
    order: int                         # of the process, in the order of execution; sides that shared one have one
    samples_us: tuple[float, ...]
    burst: int = 0                     # both sides of the pair took turns in this process, so many samples each time;
                                       # 0: the process timed one file
    throttled: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Look:
    """One interim analysis of the paired rule; the bounds are on new / baseline."""

    pairs: int
    low: float
    ratio: float                       # e to the mean of log(new / baseline)
    high: float


@dataclass(frozen=True, kw_only=True)
class Check:
    """One limit and what was found of it."""

    model: str                         # path as the budget's glob saw it
    digest: str                        # sha256 of the file
    metric: str
    rule: str                          # "max", "growth", "ratchet", "min", "fall", "allow", "forbid"; "opens" where
                                       # the file is not what its name says, which breaks all its limits
    status: Status
    sentence: str                      # what was found, and what to do where it is broken
    unit: Unit
    target: str = ""
    value: float = UNKNOWN             # for a growth of latency: the ratio new / baseline
    limit: float = UNKNOWN
    baseline: float = UNKNOWN
    low: float = UNKNOWN               # one-sided bounds, where the rule has them
    high: float = UNKNOWN
    looks: tuple[Look, ...] = ()
    processes: int = 0                 # fresh processes that the number rests on
    samples: str = ""                  # key of the raw times in `Verdict.samples`
    line: int = 1                      # of the budget file
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    budget: str                        # the budget file, as given
    checks: tuple[Check, ...]
    inconclusive_fails: bool
    samples: dict[str, tuple[Process, ...]]      # raw times by "model target conditions"
    devices: dict[str, dict[str, str]]           # target -> what it said of itself
    notes: tuple[str, ...] = ()
    seconds: float = UNKNOWN           # wall time of the whole
    mlopt: str = ""
    schema: int = SCHEMA

    @property
    def exit(self) -> Exit:
        """The worst: a broken budget is broken whatever else could not be told."""
        found = {check.status for check in self.checks}
        if Status.FAIL in found:
            return Exit.LIMIT_BROKEN
        if Status.ERROR in found:
            return Exit.INCOMPLETE
        if Status.INCONCLUSIVE in found and self.inconclusive_fails:
            return Exit.INCONCLUSIVE
        return Exit.DONE

    def count(self, status: Status) -> int:
        return sum(check.status is status for check in self.checks)
