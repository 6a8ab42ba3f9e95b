"""The search for activation ranges: candidates from histograms, the choice by the error at the model's output."""

from collections.abc import Callable, Mapping

from mlopt_tflite.histogram import GrowingHistogram
from mlopt_tflite.judge import Judge
from mlopt_tflite.observe import Observed
from mlopt_tflite.scales import Range

Build = Callable[[Mapping[int, Range]], bytes]   # ranges by tensor -> the integer file
BETTER = 0.98   # a change is kept when it brings the error at least this far down: less is the noise of the samples

CANDIDATES: dict[str, Callable[[GrowingHistogram], Range]] = {
    "min-max": GrowingHistogram.span,
    "percentile 99.9": lambda h: h.within(0.999),
    "percentile 99.99": lambda h: h.within(0.9999),
    "percentile 99.999": lambda h: h.within(0.99999),
    "percentile 99.9999": lambda h: h.within(0.999999),
    "least squared error": GrowingHistogram.least_error,
}
ROBUST = {name: CANDIDATES[name] for name in ("min-max", "percentile 99.99", "percentile 99.9999")}


def ranges_of(observed: Observed, candidate: str) -> dict[int, Range]:
    """By tensor; inputs whose range is known beyond the samples keep it."""
    return {i: CANDIDATES[candidate](h) for i, h in observed.histograms.items()} | dict(observed.exact_inputs)


def search(observed: Observed, build: Build, judge: Judge) -> tuple[dict[int, Range], str, float]:
    """The candidate with the least output error, its name and that error; the wider one wins a tie.

    Synthesised samples have tails of their own, so that ranges which clip hard are not tried on them.
    """
    names = list(ROBUST if observed.synthesised else CANDIDATES)
    errors = {name: judge.distance(build(ranges_of(observed, name))).noise for name in names}
    best = min(names, key=lambda name: errors[name])
    if errors[names[0]] * BETTER <= errors[best]:
        best = names[0]
    return ranges_of(observed, best), best, errors[best]


def refine(
    observed: Observed,
    build: Build,
    judge: Judge,
    *,
    start: Mapping[int, Range],
    groups: Mapping[int, list[int]],
    error: float,
    tries: int,
) -> tuple[dict[int, Range], int]:
    """Other candidates for one group of tensors at a time, kept where the output gains; and how many were kept.

    `error` is that of `start`; `tries` bounds how many files are built.
    """
    current, kept = dict(start), 0
    options = [ranges_of(observed, name) for name in ("min-max", "percentile 99.99", "least squared error")]
    for _, members in sorted(groups.items()):
        known = [t for t in members if t in current and t not in observed.exact_inputs]
        seen = {tuple(current[t] for t in known)}
        for option in options:
            change = {t: option[t] for t in known}
            if not known or tuple(change.values()) in seen or tries <= 0:
                continue
            seen.add(tuple(change.values()))
            tries -= 1
            found = judge.distance(build({**current, **change})).noise
            if found < error * BETTER:
                current, error, kept = {**current, **change}, found, kept + 1
    return current, kept
