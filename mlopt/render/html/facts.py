"""What the numbers rest on: findings, the files' inputs and outputs, the data, the machine, the digests."""

from collections.abc import Iterable

from mlopt.artifact import PortContract
from mlopt.render.html.markup import esc
from mlopt.render.terminal import merged
from mlopt.report import Finding, Report
from mlopt.words import grouped


def findings(found: Iterable[Finding]) -> str:
    items = "".join(
        f'<li><span class="sev-{severity.value}">{severity.value}</span>'
        f'<span><b>{esc(", ".join(abouts))}</b>: {esc(message)}</span></li>'
        for (severity, message), abouts in merged(found)
    )
    return f'<ul class="findings">{items}</ul>' if items else ""


def contracts(report: Report) -> str:
    """How to feed each recommended file; all proven ones where none is recommended."""
    able = [c for c in report.candidates if c.contract]
    shown = [c for c in able if c.recommended] or able
    rows = "".join(
        _port(f"{c.format} {c.precision}", direction, port)
        for c in shown
        if c.contract
        for direction, ports in (("in", c.contract.inputs), ("out", c.contract.outputs))
        for port in ports
    )
    if not rows:
        return ""
    heads = ("File", "", "Name", "Name in the file", "Shape", "Layout", "Type", "real = ")
    head = "".join(f'<th scope="col">{h}</th>' for h in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _port(file: str, direction: str, port: PortContract) -> str:
    shape = ", ".join("N" if d is None and i == 0 else "?" if d is None else str(d) for i, d in enumerate(port.shape))
    zero = f" {'−' if port.zero_point >= 0 else '+'} {abs(port.zero_point)}"
    inner = f"(stored{zero})" if port.zero_point else "stored"
    real = f"{inner} × {port.scale:.6g}" if port.scale != 1 else inner.strip("()")
    cells = (file, direction, port.name, port.stored_name, f"[{shape}]", port.layout, port.dtype, real)
    return "<tr>" + "".join(f"<td>{esc(c)}</td>" for c in cells) + "</tr>"


def data(report: Report) -> str:
    if not report.data:
        return ""
    rows = "".join(
        f"<tr><td>{esc(d.role)}</td><td>{esc(d.source or 'none')}</td><td class=n>{grouped(d.count)}</td>"
        f'<td>{esc(d.origin)}</td><td class="mono">{esc(d.fingerprint[:16])}</td><td>{esc(d.note)}</td></tr>'
        for d in report.data
    )
    head = "".join(
        f'<th scope="col"{" class=n" if h == "Samples" else ""}>{h}</th>'
        for h in ("Used for", "Source", "Samples", "Origin", "Fingerprint", "Note")
    )
    notes = sorted({note for c in report.candidates if c.evidence for note in c.evidence.notes})
    more = "".join(f'<p class="note">{esc(note)}</p>' for note in notes)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}'


def host(report: Report) -> str:
    of = report.host
    return _list([
        ("Processor", of.processor),
        ("Instructions", ", ".join(of.features) or "unknown"),
        ("Cores", of.cores),
        ("System", of.system),
        ("Latency", "one thread, interleaved with the float file of its format; holds for this processor alone"),
    ])


def reproducibility(report: Report) -> str:
    source = report.source
    rows: list[tuple[str, object]] = [
        ("Source", source.path),
        ("Read as", f"{source.container}, by {source.loaded_by}"),
        ("sha256", source.digest),
        ("Seed", report.seed),
        ("Versions", ", ".join(f"{name} {version}" for name, version in report.host.versions.items())),
    ]
    files = "".join(
        f'<tr><td class="mono">{esc(c.path)}</td><td class="mono">{esc(c.sha256)}</td>'
        f"<td>{esc(', '.join(f'{k}: {v}' for k, v in c.choices.items()))}</td></tr>"
        for c in report.candidates
        if c.path
    )
    head = "".join(f'<th scope="col">{h}</th>' for h in ("File", "sha256", "Choices"))
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{files}</tbody></table></div>'
    return _list(rows) + f"<details><summary>Digests of all files</summary>{table}</details>"


def _list(rows: Iterable[tuple[str, object]]) -> str:
    return '<dl class="facts">' + "".join(f"<dt>{esc(k)}</dt><dd>{esc(v)}</dd>" for k, v in rows) + "</dl>"
