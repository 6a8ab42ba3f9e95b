"""Every timed run: how they are spread, and whether they drift; and what came before them."""

import math
from dataclasses import dataclass

import numpy as np

from mlopt.profiling.session import FileProfile
from mlopt.profiling.statistics import Percentile, TimeSummary
from mlopt.render.html.frame import Frame
from mlopt.render.profile_page.axis import Scale, ticks, time_text, times_text
from mlopt.render.profile_page.bars import Bar
from mlopt.words import grouped, percent

WIDTH, HEIGHT = 520, 272
LEFT, RIGHT, TOP, BOTTOM = 54, 20, 66, 40
_FRAME = Frame(width=WIDTH, height=HEIGHT, left=LEFT, right=WIDTH - RIGHT, top=TOP, bottom=HEIGHT - BOTTOM)
_BINS = (16, 64)                # at least, at most
_MOST_DOTS = 1500
_FARTHEST = 2.5                 # medians that the figures reach, or the 90th percentile where that is farther


@dataclass(frozen=True, kw_only=True)
class Phases:
    total: str
    untold: str                 # phases that the runtime does not tell apart
    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """What both figures have, in the figure's own units; y grows downwards."""

    about: str
    caption: str
    levels: tuple[tuple[float, str], ...]        # of the y axis: place, text
    columns: tuple[tuple[float, str], ...]       # of the x axis
    path: str                                    # the histogram, or the dots
    unit: str
    frame: Frame = _FRAME


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A percentile with its interval as a band; one row each so that names never meet."""

    name: str
    text: str
    x: float
    top: int
    beyond: bool                # to the right of the figure
    low: float
    width: float
    left: bool                  # its name stands to the left


@dataclass(frozen=True, kw_only=True)
class Spread(_Figure):
    percentiles: tuple[Marked, ...]


@dataclass(frozen=True, kw_only=True)
class Order(_Figure):
    median: str                                  # the path of the running median
    slowest: tuple[tuple[float, str], ...]       # runs above the range: place, text


@dataclass(frozen=True, kw_only=True)
class Times:
    spread: Spread
    order: Order


def figures(one: FileProfile) -> Times | None:
    """Both figures side by side: the spread, and the order."""
    samples = np.asarray(one.samples_us, dtype=float)
    if not len(samples):
        return None
    shown = _shown(samples, one.distribution)
    beyond = int((samples > shown[1]).sum())
    return Times(
        spread=_spread(samples, one.distribution, shown, beyond), order=_order(samples, one.distribution, shown, beyond)
    )


def _shown(samples: np.ndarray, spread: TimeSummary) -> tuple[float, float]:
    """The range of both figures: to the 99th percentile and its interval, unless that would squeeze the rest flat."""
    least, most, middle = float(samples.min()), float(samples.max()), float(np.median(samples))
    tail = float(np.quantile(samples, 0.99))
    end = max(tail + 0.15 * (tail - least), middle * 1.03)
    if math.isfinite(spread.p99.high_us):
        end = max(end, min(spread.p99.high_us + 0.05 * (tail - least), 2 * middle))
    end = min(end, max(_FARTHEST * middle, 1.1 * float(np.quantile(samples, 0.9))))
    end = most if most <= end + 0.3 * (end - least) else end
    room = max(0.02 * (end - least), 0.002 * middle, 1e-3)
    return max(0.0, least - room), end + room


def _spread(samples: np.ndarray, spread: TimeSummary, shown: tuple[float, float], beyond: int) -> Spread:
    """A histogram with the percentiles, each with its interval as a band."""
    x = Scale(low=shown[0], high=shown[1], start=LEFT, end=WIDTH - RIGHT)
    inside = samples[samples <= shown[1]]
    counts, edges = np.histogram(inside, bins=_bin_count(inside), range=shown)
    # Logarithmic, a single run a third of a decade high: a tail of single runs beside hundreds is what counts here.
    y = Scale(low=-0.33, high=math.log10(counts.max()) + 0.1, start=HEIGHT - BOTTOM, end=TOP)
    bottom = HEIGHT - BOTTOM
    columns = "".join(
        f"M{x.at(low):.1f} {bottom}V{y.at(math.log10(count)):.1f}H{x.at(high):.1f}V{bottom}Z"
        for count, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True) if count
    )
    percentiles = (spread.p50, spread.p90, spread.p99)
    caption = "Runs by time, counted on a logarithmic scale. Bands are 95 % intervals of the percentiles."
    caption += "".join(f" {p.reason}." for p in percentiles[1:] if p.reason)
    if beyond:
        caption += f" {grouped(beyond)} slower runs, up to {time_text(spread.most_us)}, lie beyond the right edge."
    factor, unit = _unit(x.high)
    return Spread(
        about=f"Histogram of {grouped(spread.runs)} runs: " + ", ".join(map(percentile_text, percentiles)),
        caption=caption, path=columns, unit=unit,
        levels=tuple((y.at(decade), grouped(10**decade)) for decade in range(math.floor(y.high) + 1)),
        columns=tuple((x.at(v * factor), f"{v:g}") for v in ticks(x.low / factor, x.high / factor, 6)),
        percentiles=tuple(_marked(p, x, row) for row, p in enumerate(percentiles) if not math.isnan(p.us)),
    )


def _order(samples: np.ndarray, spread: TimeSummary, shown: tuple[float, float], beyond: int) -> Order:
    """Each run as a dot in its order, with the running median."""
    x = Scale(low=1, high=max(len(samples), 2), start=LEFT, end=WIDTH - RIGHT)
    y = Scale(low=shown[0], high=shown[1], start=HEIGHT - BOTTOM, end=22)
    factor, unit = _unit(shown[1])
    every = math.ceil(len(samples) / _MOST_DOTS)
    dots = "".join(
        f"M{x.at(i + 1):.1f} {y.at(us):.1f}h0" for i, us in enumerate(samples.tolist())
        if i % every == 0 and us <= shown[1]
    )
    about = f"Time of each of {grouped(len(samples))} runs in their order, from {time_text(spread.least_us)} to " \
            f"{time_text(spread.most_us)}"
    caption = "Runs in their order, with the running median: a drift or a step is the device, not the model."
    if beyond:
        caption += " Triangles are runs above the range."
    if every > 1:
        caption += f" One dot for each {every} runs."
    return Order(
        about=about, caption=caption, path=dots, unit=unit, median=_running_median(samples, x, y),
        levels=tuple((y.at(v * factor), f"{v:g}") for v in ticks(shown[0] / factor, shown[1] / factor, 5)),
        columns=tuple((x.at(v), grouped(int(v))) for v in ticks(1, x.high, 6) if v >= 1),
        slowest=tuple((x.at(i + 1), f"run {i + 1}: {time_text(us)}") for i, us in _slowest(samples, shown[1])),
    )


def _slowest(samples: np.ndarray, end: float) -> list[tuple[int, float]]:
    """Places and times of the runs above the range, at most 200 of them, the slowest."""
    places = np.flatnonzero(samples > end)
    kept = sorted(places[np.argsort(-samples[places], kind="stable")][:200].tolist())
    return [(i, float(samples[i])) for i in kept]


def _running_median(samples: np.ndarray, x: Scale, y: Scale) -> str:
    window = max(9, len(samples) // 40) | 1
    if len(samples) < 2 * window:
        return ""
    middles = np.median(np.lib.stride_tricks.sliding_window_view(samples, window), axis=1)
    step = max(1, len(middles) // 150)
    return "M" + "L".join(
        f"{x.at(i + 1 + window // 2):.1f} {y.at(float(middles[i])):.1f}" for i in range(0, len(middles), step)
    )


def _marked(p: Percentile, x: Scale, row: int) -> Marked:
    at = x.at(p.us)
    low = x.at(p.low_us) if math.isfinite(p.low_us) else at
    high = x.at(p.high_us) if math.isfinite(p.high_us) else x.end
    return Marked(
        name=_name(p), text=time_text(p.us), x=at, top=14 + 18 * row, beyond=p.us > x.high, low=low,
        width=max(high - low, 0.5), left=at > (x.start + x.end) / 2,
    )


def _unit(us: float) -> tuple[float, str]:
    return (1e6, "s") if us >= 2e6 else (1e3, "ms") if us >= 2e3 else (1.0, "µs")


def _bin_count(values: np.ndarray) -> int:
    """By Freedman and Diaconis, within bounds: 2 * IQR / n^(1/3) wide."""
    quarter, three = np.quantile(values, [0.25, 0.75])
    width = 2 * (three - quarter) / len(values) ** (1 / 3)
    wanted = math.ceil((values.max() - values.min()) / width) if width > 0 else _BINS[1]
    return min(max(wanted, _BINS[0]), _BINS[1])


def percentile_text(p: Percentile) -> str:
    """With its interval, or why there is none."""
    name = _name(p)
    if math.isnan(p.us):
        return f"{name} unknown ({p.reason})"
    return f"{name} {time_text(p.us)} {times_text(p.low_us, p.high_us)}"


def _name(p: Percentile) -> str:
    return f"p{100 * p.fraction:g}"


def phases(one: FileProfile) -> Phases | None:
    """From the start of the process to the steady state, on one scale; nothing where no phase is known."""
    of = one.phases
    steps = (
        ("import", of.import_ms, "loading the runtime's code"),
        ("load", of.load_ms, "reading the model"),
        ("compile", of.compile_ms, "allocating tensors, packing weights, building the plan"),
        ("first inference", of.first_ms, "the one that nobody has warmed up for"),
    )
    known = [ms for _, ms, _ in steps if math.isfinite(ms)]
    if not known:
        return None
    total = sum(known)
    rows = [
        Bar(label=name, length=ms / max(known) if math.isfinite(ms) else 0.0, value=time_text(1e3 * ms), title=about,
            share=percent(ms / total) if total else "")
        for name, ms, about in steps
    ]
    rows.append(Bar(label="steady, p50", length=one.distribution.p50.us / 1e3 / max(known),
                    value=time_text(one.distribution.p50.us), colour="f1"))
    untold = ", ".join(name for name, ms, _ in steps if math.isnan(ms))
    return Phases(total=time_text(1e3 * total), untold=untold, bars=tuple(rows))
