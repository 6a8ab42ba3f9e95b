"""Numbers as a reader sees them, the same in every rendering."""

import math

from mlopt.report import Interval

UNKNOWN_TEXT = "–"     # an en dash: not measured

METRIC_NAMES = {"top1": "top-1", "auc": "AUC", "r2": "R²", "none": "agreement"}


def grouped(count: int) -> str:
    """An integer with thousands separators.

    >>> grouped(86712)
    '86,712'
    """
    return f"{count:,}"


def points(difference: float, digits: int = 2) -> str:
    """A drop in points: hundredths of the metric. A minus sign stands for a gain.

    >>> points(0.004), points(-0.0012), points(0.0), points(float("nan"))
    ('0.40', '−0.12', '0.00', '–')
    """
    if not math.isfinite(difference):
        return UNKNOWN_TEXT
    text = f"{abs(difference) * 100:.{digits}f}"
    return ("−" if difference < 0 and float(text) else "") + text


def points_interval(interval: Interval, digits: int = 2) -> str:
    """A drop's interval in points; empty where there is none.

    >>> points_interval(Interval(low=-0.001, high=0.009))
    '[−0.10, 0.90]'
    """
    if not known(interval):
        return ""
    return f"[{points(interval.low, digits)}, {points(interval.high, digits)}]"


def metric_value(metric: str, value: float) -> str:
    """A metric as it is usually written: top-1 in percent, AUC and R² as plain numbers.

    >>> metric_value("top1", 0.8723), metric_value("auc", 0.98412)
    ('87.23 %', '0.9841')
    """
    if not math.isfinite(value):
        return UNKNOWN_TEXT
    return f"{value * 100:.2f} %" if metric in ("top1", "none") else f"{value:.4f}"


def percent(share: float, digits: int = 1) -> str:
    """A share in percent, never rounded up to 100.

    >>> percent(0.9996), percent(1.0), percent(0.5)
    ('99.9 %', '100 %', '50.0 %')
    """
    if not math.isfinite(share):
        return UNKNOWN_TEXT
    if share >= 1:
        return "100 %"
    scale = 10**digits
    return f"{min(round(share * 100 * scale), 100 * scale - 1) / scale:.{digits}f} %"


def ratio(value: float) -> str:
    """How long one inference takes, as a multiple of the float file's time.

    >>> ratio(0.553), ratio(1.3)
    ('0.55×', '1.30×')
    """
    return f"{value:.2f}×" if math.isfinite(value) else UNKNOWN_TEXT


def decibels(value: float, *, exact: bool = False) -> str:
    """Signal to noise; "exact" where there is no error at all."""
    if exact or value == math.inf:
        return "exact"
    return f"{value:.1f} dB" if math.isfinite(value) else UNKNOWN_TEXT


def small(value: float) -> str:
    """An error with three significant digits."""
    return f"{value:.3g}" if math.isfinite(value) else UNKNOWN_TEXT


def known(interval: Interval) -> bool:
    return math.isfinite(interval.low) and math.isfinite(interval.high)


def size_text(count: int) -> str:
    """Bytes for a headline, where three digits are enough.

    >>> size_text(812), size_text(86712), size_text(3_400_000)
    ('812 B', '86.7 kB', '3.40 MB')
    """
    text = count_text(count)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"


def count_text(count: int) -> str:
    """A count of which three digits are enough.

    >>> count_text(812), count_text(86712), count_text(12_501_632)
    ('812', '86.7 k', '12.5 M')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            value = count / size
            return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"
    return str(count)


def clean(text: str) -> str:
    """Text from a model or a data set, without characters that steer a terminal or break a line.

    >>> clean("conv\\x1b[31m\\n1")
    'conv�[31m�1'
    """
    return "".join(c if c.isprintable() else "�" for c in text)


def span(seconds: float) -> str:
    """A duration as people say it.

    >>> span(3.4), span(75), span(7265), span(float("nan"))
    ('3.4 s', '1 min 15 s', '2 h 1 min', 'unknown')
    """
    if math.isnan(seconds):
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
