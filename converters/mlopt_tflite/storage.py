"""What a TFLite file really stores, read back from the file and never taken from the request."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlopt.artifact import Storage, StoredLayer
from mlopt_tflite import flatfile
from mlopt_tflite.settle import CONVERSIONS
from mlopt_tflite.tables import Model, Tensor
from mlopt_tflite.weights import TABLES, WEIGHTED

FLOATS_OF_OTHERS = frozenset({"float32", "float16", "int8", "uint8", "int16", "int4", "int2"})   # int32 holds shapes


def read_storage(file: Path) -> Storage:
    model = flatfile.read(file)
    tensors = model.subgraphs[0].tensors
    running = list(flatfile.ops(model))
    packed = {op.outputs[0]: op for op in running if _unpacks_constant(model, op)}
    # places in the float file, which holds no conversions: the same names in every precision
    places = {op.index: i for i, op in enumerate(op for op in running if op.name not in CONVERSIONS)}
    weights: Counter[str] = Counter()
    found, counted, weight_bytes = [], set(), 0
    for op in running:
        if op.index in {p.index for p in packed.values()}:
            continue
        for place, index in enumerate(op.inputs):
            stored = packed[index].inputs[0] if index in packed else index
            if stored < 0 or not flatfile.is_constant(model, tensors[stored]):
                continue
            tensor, role = tensors[stored], _role(op, place)
            kind, elements = flatfile.type_name(tensor), int(np.prod(flatfile.shape_of(tensor), dtype=np.int64))
            if role == "other" and kind not in FLOATS_OF_OTHERS:
                continue
            size = _bytes(model, tensor)
            if stored not in counted:
                counted.add(stored)
                weights["bias" if role == "bias" else kind] += elements
                weight_bytes += size
            if role == "weights":
                found.append(
                    StoredLayer(
                        name=f"{op.name}#{places[op.index]}", op=op.name, weight_dtype=kind,
                        activation_dtype=_activation(tensors, op), elements=elements, bytes=size,
                    )
                )
    kept = [op for op in running if op.index not in {p.index for p in packed.values()}]
    dtypes = Counter(flatfile.type_name(tensors[op.outputs[0]]) for op in kept if op.outputs)
    return Storage(
        weights_by_dtype=dict(sorted(weights.items())), ops_by_dtype=dict(sorted(dtypes.items())), layers=tuple(found),
        overhead_bytes=file.stat().st_size - weight_bytes,
    )


def _role(op: flatfile.Op, place: int) -> str:
    """"weights", "bias" or "other"."""
    if op.name in WEIGHTED:
        _, weight, bias, _ = WEIGHTED[op.name]
        return {weight: "weights", bias: "bias"}.get(place, "other")
    return "weights" if TABLES.get(op.name) == place else "other"


def _unpacks_constant(model: Model, op: flatfile.Op) -> bool:
    return op.name == "DEQUANTIZE" and flatfile.is_constant(model, model.subgraphs[0].tensors[op.inputs[0]])


def _bytes(model: Model, tensor: Tensor) -> int:
    scales = tensor.quantization.scale if tensor.quantization is not None else None
    data = model.buffers[tensor.buffer].data
    assert data is not None                     # asked of constants only
    return len(data) + 4 * (len(scales) if scales is not None else 0)


def _activation(tensors: Sequence[Tensor], op: flatfile.Op) -> str:
    place = WEIGHTED[op.name][0] if op.name in WEIGHTED else 1 - TABLES[op.name]
    return flatfile.type_name(tensors[op.inputs[place]])
