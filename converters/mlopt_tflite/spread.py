"""Carry known ranges to the tensors that must share them: through pooling, reshaping, padding, joining and the like."""

from collections.abc import Mapping, Set

from mlopt.grid import ActivationGrid
from mlopt_tflite import flatfile
from mlopt_tflite.operators import INTEGER_OPS, Scales
from mlopt_tflite.scales import data_operands
from mlopt_tflite.tables import Model


def prescribed(model: Model, integer: Set[int]) -> dict[int, ActivationGrid]:
    """By tensor, the range that an int8 kernel prescribes; values that only pass on keep it."""
    found: dict[int, ActivationGrid] = {}
    for op in flatfile.ops(model):
        if op.index not in integer:
            continue
        rule = INTEGER_OPS[op.name]
        if rule.scales is Scales.FIXED:
            scale, zero = rule.fixed["int8"]
            found[op.outputs[0]] = ActivationGrid(low=(-128 - zero) * scale, high=(127 - zero) * scale)
        elif rule.scales is Scales.SAME and len(data_operands(model, op)) == 1:
            source = data_operands(model, op)[0]
            found |= {out: found[source] for out in op.outputs if source in found}
    return found


def spread(
    model: Model, integer: Set[int], spans: Mapping[int, ActivationGrid], fixed: Mapping[int, ActivationGrid]
) -> dict[int, ActivationGrid]:
    """`spans` by tensor, and those of the tensors around operations that only pass values on; none of `fixed`.

    An output without a range gets its operand's, or what holds those of all operands; an operand without one gets its
    output's. Several outputs of one operation share its operand's, whatever was said of them.
    """
    found = {tensor: span for tensor, span in spans.items() if tensor not in fixed}
    ops = passing(model, integer)
    for op in ops:
        operands = _operands(model, op)
        known = [found.get(t) or fixed.get(t) for t in operands]
        whole = [span for span in known if span is not None]
        if not whole or len(whole) < len(operands):
            continue
        union = ActivationGrid(low=min(s.low for s in whole), high=max(s.high for s in whole))
        for out in op.outputs:
            if out not in fixed and (out not in found or len(op.outputs) > 1):
                found[out] = union
    for op in reversed(ops):
        for tensor in _operands(model, op):
            if tensor not in fixed and tensor not in found and op.outputs[0] in found:
                found[tensor] = found[op.outputs[0]]
    return found


def passing(model: Model, integer: Set[int]) -> list[flatfile.Op]:
    """Operations whose inputs and outputs share one scale, in running order."""
    return [op for op in flatfile.ops(model) if op.index in integer and INTEGER_OPS[op.name].scales is Scales.SAME]


def _operands(model: Model, op: flatfile.Op) -> list[int]:
    tensors = model.subgraphs[0].tensors
    return [t for t in data_operands(model, op) if not flatfile.is_constant(model, tensors[t])]
