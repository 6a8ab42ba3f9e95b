"""Budgets and evidence to a verdict that CI can trust.

job.py (the commands as functions), budget.py (load_budget), matching.py (which file falls under which budget),
inventory.py (whether a file is a model at all, and its operations),
evidence.py (what is known of a file), measuring.py (one checked process), paired.py (pairs of them until a rule has
decided), rules.py (numbers to a status, pure), limits.py and timing.py (a limit to a check), judge.py (all together),
verdict.py (what comes out), noise.py (what this machine can tell apart), baseline.py (the committed exact figures),
simulate.py (error rates), outputs/ (terminal, JSON, Markdown, GitHub, JUnit, SARIF).
"""
