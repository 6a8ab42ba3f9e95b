"""How far each tensor inside a file is from the same tensor of the float file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlopt.convert.equalize import unscaled
from mlopt.data.samples import Samples
from mlopt.errors import MloptError
from mlopt.report import LayerError
from mlopt_tflite import flatfile
from mlopt_tflite.engine import Engine, to_real
from mlopt_tflite.packing import pack
from mlopt_tflite.pairs import pairs
from mlopt_tflite.settle import aligned


def layer_errors(float_file: Path, file: Path, samples: Samples, limit: int) -> tuple[LayerError, ...]:
    """Signal to noise in dB at the output of every operation, over the first `limit` samples, in running order.

    Names give the operation and its place in the float file, "CONV_2D#3". `inf` where the two are equal. Tensors that
    are no numbers of the network (shapes, indices), or that LiteRT does not keep (control flow), are left out. Where
    scale can have moved between two layers (`mlopt.convert.equalize`), it is moved back first.
    """
    model, other = flatfile.read(float_file), flatfile.read(file)
    try:
        alike = aligned(model, other)
    except ValueError as err:
        raise MloptError(f"{file} cannot be compared with {float_file} layer by layer: {err}") from err
    names = {op.index: f"{op.name}#{op.index}" for op in flatfile.ops(model)}
    ours, theirs = list(flatfile.ops(model)), list(flatfile.ops(other))
    where = {
        names[a]: (ours[a].outputs[0], theirs[b].outputs[0])
        for a, b in alike
        if ours[a].outputs and flatfile.type_name(model.subgraphs[0].tensors[ours[a].outputs[0]]) == "float32"
    }
    rows = samples.rows(0, min(limit, samples.count))
    left = _values(Engine(pack(model), name=float_file.name, keep_all=True), rows, {n: w[0] for n, w in where.items()})
    right = _values(Engine(pack(other), name=file.name, keep_all=True), rows, {n: w[1] for n, w in where.items()})
    both = [name for name in where if name in left and name in right]
    movable = {tensor for pair in pairs(model) for tensor in pair.tensors}
    for name in both:
        if where[name][0] in movable:
            right[name] = unscaled(left[name], right[name], -1)
    return tuple(LayerError(name=name, sqnr_db=sqnr_db(left[name], right[name])) for name in both)


def sqnr_db(signal: np.ndarray, values: np.ndarray) -> float:
    """Ten times the logarithm of signal power over error power; nan where the signal is nothing.

    >>> round(sqnr_db(np.array([10.0, 0.0]), np.array([9.0, 0.0])), 6)
    20.0
    """
    power = float((signal.astype(np.float64) ** 2).sum())
    error = float(((signal.astype(np.float64) - values) ** 2).sum())
    if power == 0:
        return float("nan")
    return float("inf") if error == 0 else 10 * float(np.log10(power / error))


def _values(engine: Engine, rows: Mapping[str, np.ndarray], where: Mapping[str, int]) -> dict[str, np.ndarray]:
    details: dict[int, Any] = {d["index"]: d["quantization"] for d in engine.interpreter.get_tensor_details()}
    found: dict[str, list[np.ndarray]] = {name: [] for name in where}
    for row in range(len(next(iter(rows.values())))):
        engine.stage({name: array[row : row + 1] for name, array in rows.items()})
        engine.invoke()
        if row == 0:
            where = {name: index for name, index in where.items() if engine.readable(index)}
        for name, index in where.items():
            found[name].append(to_real(engine.tensor(index), *details[index]))
    return {name: np.stack(found[name]) for name in where}
