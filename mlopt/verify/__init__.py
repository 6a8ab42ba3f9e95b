"""Proof that an exported file does what the source model does: parity, the task's metric, and how far to trust both."""

from mlopt.verify.parity import Comparison, compare, measure_source
from mlopt.verify.prove import prove
from mlopt.verify.task import Task, identify_task

__all__ = ["Comparison", "Task", "compare", "identify_task", "measure_source", "prove"]
