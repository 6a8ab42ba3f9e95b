"""The verdict as a comment on a pull request: bounded, escaped, and with a marker to find it again."""

from mlopt.gate.outputs.terminal import cells, headline, worst_first
from mlopt.gate.verdict import Check, Status, Verdict
from mlopt.render.markdown import escape

MARKER = "<!-- mlopt-gate -->"         # a hidden line by which a comment is found and replaced
LARGEST_BYTES = 60 * 1024              # a comment holds 64 KiB; the rest is for what a workflow adds
_SIGNS = {Status.PASS: "✅", Status.FAIL: "❌", Status.ERROR: "❌", Status.INCONCLUSIVE: "⚠️", Status.WAIVED: "⚠️"}


def to_markdown(verdict: Verdict) -> str:
    """At most 60 KiB: where not all rows fit, the passing ones go first, and the text counts what it left out."""
    parts = [MARKER, f"## mlopt gate: {escape(headline(verdict))}", ""]
    rows = worst_first(verdict)
    broken = [check for check in rows if check.status is not Status.PASS]
    spoken = [f"- {_SIGNS[c.status]} **{escape(c.model)}**: {escape(c.sentence)}" for c in broken]
    table = [_row(check) for check in rows]
    notes = [f"- {escape(note)}" for note in dict.fromkeys([*verdict.notes, *(n for c in rows for n in c.notes)])]
    room = LARGEST_BYTES - _size(parts) - 1024
    spoken, room = _fitting(spoken, room, "limits that did not pass")
    table, room = _fitting(table, room, "rows")
    notes, _ = _fitting(notes, room, "notes")
    if spoken:
        parts += [*spoken, ""]
    parts += ["| | file | limit of | on | found | limit | baseline |", "| --- | --- | --- | --- | ---: | ---: | ---: |"]
    parts += table
    if notes:
        parts += ["", "<details><summary>Notes</summary>", "", *notes, "", "</details>"]
    return "\n".join(parts) + "\n"


def _row(check: Check) -> str:
    metric, figure, limit, old = cells(check)
    limit = f"≥ {limit}" if check.rule in ("min", "fall") else limit
    values = (escape(check.model), escape(metric), escape(check.target), figure, limit, old)
    return f"| {_SIGNS[check.status]} | " + " | ".join(values) + " |"


def _fitting(lines: list[str], room: int, what: str) -> tuple[list[str], int]:
    kept: list[str] = []
    for line in lines:
        if _size([line]) > room - 64:
            break
        kept.append(line)
        room -= _size([line])
    if len(kept) < len(lines):
        kept.append(f"\n{len(lines) - len(kept)} more {what} are in the JSON.")
    return kept, room


def _size(lines: list[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)
