"""The page: what to ship first, then the evidence for it, then what it rests on."""

import base64
import hashlib

from mlopt.render.html import candidates, facts, groups, layers, training
from mlopt.render.html.markup import esc, section
from mlopt.render.html.plot import pareto_plot
from mlopt.render.html.style import CSS, SORT
from mlopt.report import Report
from mlopt.words import METRIC_NAMES, grouped, known, metric_value

_ICON = "data:,"      # an empty icon: without one a browser asks the server for favicon.ico


def to_html(report: Report) -> str:
    """One page with everything inline. Its content policy forbids every request and every script but its own."""
    name = report.source.path.name
    script = base64.b64encode(hashlib.sha256(SORT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{script}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="{_ICON}"><title>{esc(name)}: compressed files compared</title>'
        f"<style>{CSS}</style></head>"
        f"<body><main><header><h1>{esc(name)}</h1>{_subtitle(report)}</header>{candidates.verdict(report)}"
        f"{_sections(report)}</main><script>{SORT}</script></body></html>\n"
    )


def _subtitle(report: Report) -> str:
    source, baseline = report.source, report.baseline
    parts = [f"{grouped(source.parameters)} parameters", f"{grouped(source.macs)} multiply-accumulates"]
    parts.append(f"{grouped(source.file_bytes)} bytes as {source.container}")
    if baseline.metric != "none":
        value = f"{METRIC_NAMES[baseline.metric]} {metric_value(baseline.metric, baseline.value)}"
        if known(baseline.interval):
            low, high = (metric_value(baseline.metric, v) for v in (baseline.interval.low, baseline.interval.high))
            value += f" [{low.removesuffix(' %')}, {high.removesuffix(' %')}]"
        parts.append(value)
    parts.append(f"{grouped(baseline.n)} {baseline.samples} samples")
    return f'<p class="sub">{esc(" · ".join(parts))}</p>'


def _sections(report: Report) -> str:
    labelled = report.limit.measure == "drop"
    loss = "Drop" if labelled else "Disagreement"
    return "".join([
        section("training", "Training", training.steps(report)),
        section(
            "tradeoff", f"Size and {loss.lower()}", pareto_plot(report),
            "Lower left is better. A hollow marker is not within the limit. Point at a marker for its figures.",
        ),
        section(
            "files", "All files", candidates.table(report),
            "Each number comes from the file itself, run in its own runtime on the same samples as the source."
            + (" A drop is in points, hundredths of the metric, with a paired 95 % interval." if labelled else ""),
        ),
        section("findings", "Findings", facts.findings(report.findings)),
        section("sizes", "Where the bytes are", layers.size_map(report)),
        section(
            "errors", "Error by layer", layers.layer_errors(report),
            "Signal to quantization noise against the float file of the same format; a short bar is a noisy layer.",
        ),
        section(
            "groups", "Classes and slices", groups.drops(report),
            "Each interval is 95 % by itself: of twenty groups one is expected to lie outside its own.",
        ),
        section(
            "confusion", "What is taken for what", groups.confusions(report),
            "Rows are labels, columns predictions; shading is the share of the row.",
        ),
        section("contract", "How to feed the files", facts.contracts(report)),
        section("data", "Data", facts.data(report)),
        section("host", "This host", facts.host(report)),
        section("reproduce", "To reproduce", facts.reproducibility(report)),
    ])
