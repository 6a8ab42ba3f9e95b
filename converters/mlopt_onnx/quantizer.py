"""int8 files out of the float32 file. Runs in a worker without TensorFlow or torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mlopt.artifact import Made
from mlopt.data.samples import Samples
from mlopt.errors import MloptError
from mlopt.grid import Grid
from mlopt.model import Signature
from mlopt_onnx import equalizing, qdq, trained
from mlopt_onnx.calibration import distributions, rows, split
from mlopt_onnx.finishing import finish
from mlopt_onnx.graph import Graph, read_model
from mlopt_onnx.plan import plan
from mlopt_onnx.search import NARROW, Found, Judge, search

# u8 x s8 products: without VNNI the kernels use vpmaddubsw, whose pair sums reach 2 * 255 * 127 > 32767. The search
# tries 7-bit weights too, which cannot overflow, so a host of that kind picks them where clipping costs accuracy.
SATURATION = (
    "On x86 processors with AVX2 and without VNNI, ONNX Runtime adds pairs of 8-bit products in 16 bits and clips large"
    " sums; where outputs differ there, set the session option session.x64quantprecision to 1."
)


class NothingToQuantize(MloptError):
    """The model has no operation with weights or activations that an 8-bit file could hold."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        super().__init__(f"{path}: no operation of this model has an 8-bit form in ONNX Runtime. Use float16 instead.")


def make(
    float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None, seed: int,
    grid: Grid | None = None,
) -> Made:
    """Write int8 of `float_file` to `dest`; see `mlopt.convert.protocol.Make`."""
    if precision != "int8":
        raise ValueError(f"this makes int8, not {precision}")
    graph = Graph.of(read_model(float_file))
    if grid is not None:
        return _make_trained(graph, float_file, dest, grid, lambda: _calibration(samples, seed))
    if samples is None or samples.count == 0:
        raise ValueError("int8 is calibrated on samples; got none")
    return _make_int8(graph, float_file, dest, samples, seed)


def _make_int8(graph: Graph, float_file: Path, dest: Path, samples: Samples, seed: int) -> Made:
    chosen = plan(graph)
    if not chosen.tensors and not chosen.weights:
        raise NothingToQuantize(float_file)
    parts = split(samples.count, seed)
    inputs = rows(samples, parts.calibration)
    choosing, confirming = (Judge(graph, chosen, rows(samples, n)) for n in (parts.choosing, parts.confirming))
    graph, evened = equalizing.search(graph, chosen, inputs, choosing)
    seen = distributions(graph, chosen.tensors, inputs)
    found = search(graph, chosen, seen, choosing.of(graph), confirming.of(graph))
    finish(qdq.insert(graph, chosen, found.grids), graph, dest, rows(samples, parts.choosing[:8]))
    notes = list(chosen.notes)
    if parts.shared:
        notes.append(f"Only {samples.count} samples: ranges were taken from and compared on the same ones.")
    if chosen.integer and found.grids.most_weight > NARROW:
        notes.append(SATURATION)
    choices = _choices(found, len(parts.calibration)) | {"equalization": evened}
    return Made(path=dest, choices=choices, notes=tuple(notes))


def _calibration(samples: Samples | None, seed: int) -> dict[str, np.ndarray]:
    if samples is None or samples.count == 0:
        raise ValueError("int8 is calibrated on samples where a trained grid has no range; got none")
    return rows(samples, split(samples.count, seed).calibration)


def _make_trained(
    graph: Graph, float_file: Path, dest: Path, grid: Grid, seen: Callable[[], dict[str, np.ndarray]]
) -> Made:
    """int8 with the numbers of a trained grid; samples serve tensors that training did not round, if there are any."""
    chosen = plan(graph)
    if not chosen.tensors and not chosen.weights:
        raise NothingToQuantize(float_file)
    found = trained.found_in(graph, chosen, grid, seen)
    made = qdq.insert(graph, chosen, found.grids)
    notes = [*chosen.notes, *found.notes, *trained.raised(made, found.grids.kernels)]
    finish(made, graph, dest, grid.probe_inputs())
    if chosen.integer and any(np.abs(on.whole).max(initial=0) > NARROW for on in found.grids.kernels.values()):
        notes.append(SATURATION)
    return Made(path=dest, choices=dict(found.choices), notes=tuple(notes))


def _choices(found: Found, calibrated: int) -> dict[str, str]:
    return {
        "ranges": found.ranges,
        "bias": found.bias,
        "weights": f"{found.weights}, symmetric, one scale per channel",
        "activations": "unsigned 8 bits",
        "calibration": f"{calibrated} samples",
        "held-out signal to noise": f"{found.sqnr_db:.1f} dB at the outputs",
    }
