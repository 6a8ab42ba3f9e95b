"""How far each layer of a package is from the same layer of the float32 package, on the same samples.

Packages of one model name their operations alike, so layers are matched by name.
"""

from pathlib import Path

import numpy as np

from mlopt.data.samples import Samples
from mlopt.report import LayerError
from mlopt_coreml.mil.evaluator import Evaluator
from mlopt_coreml.mil.program import Program
from mlopt_coreml.mil.threads import one_thread_per_product
from mlopt_coreml.names import port_names
from mlopt_coreml.package import program_of, read_package
from mlopt_coreml.stored import weight_uses


def layer_errors(float_file: Path, file: Path, samples: Samples, limit: int) -> tuple[LayerError, ...]:
    """Signal to noise at the output of every operation that owns weights, in the file's order.

    Infinite where both are equal, and nan where the float32 layer gives nothing but zeros.
    """
    one_thread_per_product()
    true, other = (program_of(read_package(f), f) for f in (float_file, file))
    known = {op.name for op, _ in weight_uses(true)}
    shared = [name for name in dict.fromkeys(op.name for op, _ in weight_uses(other)) if name in known]
    signal, noise = dict.fromkeys(shared, 0.0), dict.fromkeys(shared, 0.0)
    evaluators = Evaluator(true), Evaluator(other)
    step = min(e.batch_size for e in evaluators)
    for start in range(0, min(limit, samples.count), step):
        rows = samples.rows(start, min(start + step, limit, samples.count))
        names = port_names(list(rows))
        inputs = {names[name]: np.asarray(array)[:, None] for name, array in rows.items()}
        wanted, found = (
            e.run(inputs, keep=_outputs(p, shared)) for e, p in zip(evaluators, (true, other), strict=True)
        )
        for name in shared:
            w, f = (v[_output(p, name)].astype(np.float64) for v, p in ((wanted, true), (found, other)))
            signal[name] += float(np.square(w).sum())
            noise[name] += float(np.square(w - f).sum())
    return tuple(LayerError(name=name, sqnr_db=_decibels(signal[name], noise[name])) for name in shared)


def _output(program: Program, operation: str) -> str:
    return next(op.outputs[0].name for op in program.operations if op.name == operation)


def _outputs(program: Program, operations: list[str]) -> frozenset[str]:
    return frozenset(_output(program, name) for name in operations)


def _decibels(signal: float, noise: float) -> float:
    if signal == 0:
        return float("nan")
    return float("inf") if noise == 0 else float(10 * np.log10(signal / noise))
