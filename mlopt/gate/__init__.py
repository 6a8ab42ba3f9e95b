"""Budgets and evidence to a verdict that CI can trust.

budget.py (load_budget), evidence.py (what is known of a file), rules.py (numbers to a status, pure), paired.py (pairs of
fresh processes until a rule has decided), judge.py (the three together), verdict.py (what comes out), noise.py (what this
machine can tell apart), baseline.py (the committed exact figures), outputs/ (terminal, JSON, Markdown, GitHub, JUnit, SARIF).
"""
