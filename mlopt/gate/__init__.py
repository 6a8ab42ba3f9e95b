"""Budgets and evidence to a verdict that CI can trust: `check`, `calibrate` and `update`, as the command has them.

job.py (the commands as functions), budget.py (load_budget), matching.py (which file falls under which budget),
inventory.py (whether a file is a model at all, and its operations),
evidence.py (what is known of a file), measuring.py (one checked process), paired.py (pairs of them until a rule has
decided), rules.py (numbers to a status, pure), limits.py and timing.py (a limit to a check), judge.py (all together),
verdict.py (what comes out), noise.py (what this machine can tell apart), baseline.py (the committed exact figures),
simulate.py (error rates), outputs/ (terminal, JSON, Markdown, GitHub, JUnit, SARIF).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlopt.gate.job import calibrate, check, update

__all__ = ["calibrate", "check", "update"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("mlopt.gate.job"), name)
    raise AttributeError(f"module 'mlopt.gate' has no attribute {name!r}")
