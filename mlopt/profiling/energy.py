"""Energy of an inference, where the device counts any; otherwise the reason why there is no figure."""

from dataclasses import dataclass

from mlopt.documents import json_value
from mlopt.profiling.contract import RunResult
from mlopt.report import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Part:
    """One counter: a processor package, its memory, a power rail."""

    name: str
    per_inference_uj: float


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Of the timed runs, by the device's own counters: all that ran on the part meanwhile is in it."""

    parts: tuple[Part, ...] = ()
    watts: float = UNKNOWN             # of all parts, while inferences were timed
    reason: str = "the runner does not say"     # why there are no parts; "" where there are

    @property
    def per_inference_uj(self) -> float:
        """Of all parts together, in microjoules."""
        return sum(part.per_inference_uj for part in self.parts) if self.parts else UNKNOWN


NOT_TOLD = Energy()


def energy_of(result: RunResult) -> Energy:
    """What a runner wrote into `extra`; a runner that reads no counters leaves it out."""
    extra = result.extra
    if "energy_uj" not in extra:
        return Energy(reason=extra.get("energy_unavailable") or "this device's runner reads no energy counters")
    try:
        used = {str(name): float(uj) for name, uj in json_value(extra["energy_uj"]).items()}
        inferences, seconds = float(extra["energy_inferences"]), float(extra["energy_seconds"])
        parts = tuple(Part(name=name, per_inference_uj=uj / inferences) for name, uj in used.items())
        return Energy(parts=parts, watts=sum(used.values()) / 1e6 / seconds, reason="")
    except (ValueError, TypeError, AttributeError, KeyError, ZeroDivisionError) as err:
        return Energy(reason=f"the runner's counts cannot be read: {err}")
