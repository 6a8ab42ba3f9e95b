"""An int8 file made in a moment: its speed is that of the final one, its numbers are not."""

from pathlib import Path

from mlopt.data.samples import Samples
from mlopt_onnx import qdq
from mlopt_onnx.calibration import distributions
from mlopt_onnx.finishing import finish
from mlopt_onnx.graph import Graph, read_model
from mlopt_onnx.plan import plan
from mlopt_onnx.quantizer import NothingToQuantize
from mlopt_onnx.search import activation_grids

_SAMPLES = 16  # enough for ranges that are of the right size


def draft(float_file: Path, dest: Path, samples: Samples) -> None:
    """Write an int8 file with ranges of a few samples and rounded weights, nothing searched.

    Raises `NothingToQuantize` where no operation has an 8-bit form.
    """
    graph = Graph.of(read_model(float_file))
    chosen = plan(graph)
    if not chosen.tensors and not chosen.weights:
        raise NothingToQuantize(float_file)
    seen = distributions(graph, chosen.tensors, samples.rows(0, min(_SAMPLES, samples.count)))
    grids = qdq.Grids(activations=activation_grids("min-max", graph, chosen, seen))
    finish(qdq.insert(graph, chosen, grids), graph, dest, {})
