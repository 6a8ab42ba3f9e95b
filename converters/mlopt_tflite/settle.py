"""Let LiteRT itself decide what runs: an operation that it refuses goes back to float, and a note says so."""

import re
from collections.abc import Callable, Set

from mlopt.errors import MloptError
from mlopt_tflite import flatfile
from mlopt_tflite.engine import Engine
from mlopt_tflite.packing import pack
from mlopt_tflite.slim import random_inputs
from mlopt_tflite.tables import Model

CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})


def settle(model: Model, build: Callable[[Set[int]], Model]) -> tuple[Model, tuple[str, ...]]:
    """`build` makes a lowered model, with some operations of the float `model` left in float; here are found the least
    that LiteRT runs. Returns that model and a note for each operation that went back.
    """
    in_float: set[int] = set()
    notes: list[str] = []
    names = [op.name for op in flatfile.ops(model)]
    while True:
        built = build(frozenset(in_float))
        try:
            run_once(built)
        except MloptError as err:
            refused = _refused(model, built, str(err))
            if refused is None or refused in in_float:
                raise
            in_float.add(refused)
            notes.append(f"{names[refused]}#{refused} stays in float: {err}")
            continue
        return built, tuple(notes)


def run_once(model: Model) -> None:
    """One inference on seeded inputs; raises `MloptError` with LiteRT's words."""
    engine = Engine(pack(model))
    engine.run_stored(random_inputs(engine, seed=0))


def _refused(model: Model, built: Model, message: str) -> int | None:
    """The float operation behind the node that LiteRT names, or None when it names none of ours."""
    named = re.search(r"Node number (\d+) \((\w+)\)", message)
    if named is None:
        return None
    return {lowered: source for source, lowered in aligned(model, built)}.get(int(named.group(1)))


def aligned(model: Model, built: Model) -> list[tuple[int, int]]:
    """(operation of the float model, the same operation of a lowered one): lowering keeps the order and only adds
    conversions. Raises ValueError when the two are not such a pair.
    """
    ours = [op for op in flatfile.ops(model) if op.name not in CONVERSIONS]
    theirs = [op for op in flatfile.ops(built) if op.name not in CONVERSIONS]
    if [op.name for op in ours] != [op.name for op in theirs]:
        raise ValueError("the files hold different operations: one was not made from the other")
    return [(a.index, b.index) for a, b in zip(ours, theirs, strict=True)]
