"""Where the time of one inference goes: by operation, by layer, by compute unit."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mlopt.profiling.contract import OperatorTime


@dataclass(frozen=True, kw_only=True)
class Share:
    """What several operators take together."""

    name: str
    operators: int
    us: float
    share: float                # of all operators' sum, a fraction


def by_share(operators: Sequence[OperatorTime]) -> list[tuple[OperatorTime, float]]:
    """Operations with their share of the sum, the largest first.

    >>> ops = [OperatorTime(index=i, name=n, op="", layer="", unit="", mean_us=t, runs=1)
    ...        for i, (n, t) in enumerate([("a", 1.0), ("b", 3.0)])]
    >>> [(op.name, share) for op, share in by_share(ops)]
    [('b', 0.75), ('a', 0.25)]
    """
    total = sum(op.mean_us for op in operators)
    ranked = sorted(operators, key=lambda op: -op.mean_us)
    return [(op, op.mean_us / total if total else 0.0) for op in ranked]


def by_unit(operators: Iterable[OperatorTime]) -> tuple[Share, ...]:
    """By what executed them: XNNPACK, LiteRT's own kernels ("builtin"), an execution provider."""
    return _grouped(operators, lambda op: op.unit or "unknown")


def by_kind(operators: Iterable[OperatorTime]) -> tuple[Share, ...]:
    """By the format's operation, or the runtime's name where it stands for none or for several."""
    return _grouped(operators, kind)


def by_layer(operators: Iterable[OperatorTime]) -> tuple[Share, ...]:
    """By the file's name for the layer; an operator whose layer has no name in the file stands alone.

    >>> ops = [OperatorTime(index=i, name=n, op="", layer=layer, unit="", mean_us=1.0, runs=1)
    ...        for i, (n, layer) in enumerate([("Add", "a"), ("Clamp", "a"), ("Copy", "")])]
    >>> [(layer.name, layer.operators) for layer in by_layer(ops)]
    [('a', 2), ('Copy #2', 1)]
    """
    return _grouped(operators, lambda op: op.layer or f"{kind(op)} #{op.index}")


def kind(operator: OperatorTime) -> str:
    """What an operator computes: the format's operation, or the runtime's name without what tells two of them apart.

    >>> kind(OperatorTime(index=0, name="Static Reshape (NC)", op="", layer="", unit="XNNPACK", mean_us=1.0, runs=1))
    'Static Reshape'
    >>> kind(OperatorTime(index=0, name="Cast cast_3", op="", layer="", unit="CPUExecutionProvider", mean_us=1, runs=1))
    'Cast'
    """
    end = " " if operator.unit.endswith("ExecutionProvider") else " ("      # ONNX Runtime: operation, node's name
    return operator.op or operator.name.partition(end)[0] or "unknown"


def _grouped(operators: Iterable[OperatorTime], name_of: Callable[[OperatorTime], str]) -> tuple[Share, ...]:
    """The largest first; equal ones in the order in which they first come."""
    groups: dict[str, list[float]] = {}
    for op in operators:
        groups.setdefault(name_of(op), []).append(op.mean_us)
    total = sum(sum(times) for times in groups.values())
    made = [
        Share(name=name, operators=len(times), us=sum(times), share=sum(times) / total if total else 0.0)
        for name, times in groups.items()
    ]
    return tuple(sorted(made, key=lambda one: -one.us))
