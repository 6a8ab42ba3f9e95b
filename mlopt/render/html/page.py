"""The page: what to ship first, then the evidence for it, then what it rests on."""

from mlopt.render import limits
from mlopt.render.html import candidates, facts, groups, layers, training
from mlopt.render.html.environment import page
from mlopt.render.html.formats import slots
from mlopt.render.html.plot import pareto_plot
from mlopt.report import Report
from mlopt.words import METRIC_NAMES, grouped, known, metric_value


def to_html(report: Report) -> str:
    """One page with everything inline. Its content policy forbids every request and every script but its own."""
    slot_of = slots(c.format for c in report.candidates)
    return page(
        "report.html.j2", report=report, slot_of=slot_of, subtitle=_subtitle(report),
        asked=limits.asked(report), cards=candidates.cards(report, slot_of),
        tags=[candidates.tag(c) for c in report.candidates],
        times=[candidates.time_text(c) for c in report.candidates],
        training=training.view(report.trained) if report.trained else None,
        plot=pareto_plot(report, slot_of), findings=facts.findings(report), sizes=layers.sizes(report, slot_of),
        errors=layers.errors(report), drops=groups.drops(report), confusions=groups.confusions(report),
        ports=facts.ports(report), data_notes=facts.data_notes(report), host=facts.host(report),
        provenance=facts.provenance(report),
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
    return " · ".join(parts)
