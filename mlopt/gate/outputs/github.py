"""For GitHub Actions: annotations on the lines of the budget file, and the step's summary."""

import os
from collections.abc import Mapping
from pathlib import Path

from mlopt.gate.budget import BudgetError
from mlopt.gate.outputs.markdown import to_markdown
from mlopt.gate.outputs.terminal import worst_first
from mlopt.gate.verdict import Check, Status, Verdict

_SHOWN = 10         # GitHub shows ten annotations of a kind for a step, and drops the others without a word
_LEVELS = {Status.FAIL: "error", Status.ERROR: "error", Status.INCONCLUSIVE: "warning", Status.WAIVED: "warning"}


def annotations(verdict: Verdict) -> list[str]:
    """Workflow commands, the worst ten of each level; a last one counts those left out."""
    lines = []
    for level in ("error", "warning"):
        found = [c for c in worst_first(verdict) if _LEVELS.get(c.status) == level]
        left = len(found) - _SHOWN
        shown = found if left <= 0 else found[: _SHOWN - 1]
        lines += [_annotation(level, check, verdict.budget) for check in shown]
        if left > 0:
            rest = len(found) - len(shown)
            lines.append(f"::{level} title=mlopt gate::{rest} more limits did not pass: see the summary")
    return lines


def refusal(error: BudgetError) -> str:
    """The annotation of a budget that nothing can be judged by."""
    line = f",line={error.line}" if error.line else ""
    return f"::error file={value(error.path)}{line},title=mlopt gate::{data(error.found)}"


def add_summary(verdict: Verdict, environment: Mapping[str, str] = os.environ) -> bool:
    """Append the Markdown to the step's summary, where there is one: `GITHUB_STEP_SUMMARY` names it."""
    path = environment.get("GITHUB_STEP_SUMMARY", "")
    if not path:
        return False
    with Path(path).open("a", encoding="utf-8") as summary:
        summary.write(to_markdown(verdict))
    return True


def data(text: str) -> str:
    r"""Text as the message of a workflow command.

    >>> data("100%\n::error::x")
    '100%25%0A::error::x'
    """
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def value(text: str) -> str:
    """Text as a property of a workflow command.

    >>> value("a:b,c")
    'a%3Ab%2Cc'
    """
    return data(text).replace(":", "%3A").replace(",", "%2C")


def _annotation(level: str, check: Check, budget: str) -> str:
    title = value(f"{check.model}: {check.metric} {check.status.value}")
    return f"::{level} file={value(budget)},line={check.line},title={title}::{data(check.sentence)}"
