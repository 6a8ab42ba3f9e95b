"""What the numbers rest on: findings, the files' inputs and outputs, the data, the machine, the digests."""

from mlopt.artifact import PortContract
from mlopt.render.terminal import merged
from mlopt.report import Report

Rows = list[tuple[str, object]]


def findings(report: Report) -> list[tuple[str, str, str]]:
    """Severity, what it is about, and the sentence."""
    return [(severity.value, ", ".join(abouts), message)
            for (severity, message), abouts in merged(report.findings)]


def ports(report: Report) -> list[tuple[str, ...]]:
    """How to feed each recommended file; all proven ones where none is recommended."""
    able = [c for c in report.candidates if c.contract]
    shown = [c for c in able if c.recommended] or able
    return [
        _port(f"{c.format} {c.precision}", direction, port)
        for c in shown
        if c.contract
        for direction, all_ports in (("in", c.contract.inputs), ("out", c.contract.outputs))
        for port in all_ports
    ]


def _port(file: str, direction: str, port: PortContract) -> tuple[str, ...]:
    shape = ", ".join("N" if d is None and i == 0 else "?" if d is None else str(d) for i, d in enumerate(port.shape))
    zero = f" {'−' if port.zero_point >= 0 else '+'} {abs(port.zero_point)}"
    inner = f"(stored{zero})" if port.zero_point else "stored"
    real = f"{inner} × {port.scale:.6g}" if port.scale != 1 else inner.strip("()")
    return file, direction, port.name, port.stored_name, f"[{shape}]", port.layout, port.dtype, real


def data_notes(report: Report) -> list[str]:
    return sorted({note for c in report.candidates if c.evidence for note in c.evidence.notes})


def host(report: Report) -> Rows:
    of = report.host
    return [
        ("Processor", of.processor),
        ("Instructions", ", ".join(of.features) or "unknown"),
        ("Cores", of.cores),
        ("System", of.system),
        ("Latency", "one thread, interleaved with the float file of its format; holds for this processor alone"),
    ]


def provenance(report: Report) -> Rows:
    source = report.source
    return [
        ("Source", source.path),
        ("Read as", f"{source.container}, by {source.loaded_by}"),
        ("sha256", source.digest),
        ("Seed", report.seed),
        ("Versions", ", ".join(f"{name} {version}" for name, version in report.host.versions.items())),
    ]
