"""Take out of a TFLite file what no runtime reads, and prove that it computes the same bits.

Dropped: names of tensors inside the graph, names of graphs, the description, metadata (converter versions), recorded
min and max beside a scale, quantization tables without a scale, shape signatures that repeat the shape, and tensors,
buffers and operator codes that nothing uses. Stored once: equal buffers, vectors and tables. Kept: the signature with
its names, the names of inputs and outputs, operator versions, and the 16-byte alignment of weights.

Zero points stay one for each scale, although they are all zero: runtimes of 2024 and before refuse a file where the
counts differ. They are shared, so that they cost once per number of channels.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlopt.errors import MloptError
from mlopt_tflite import flatfile
from mlopt_tflite.engine import Engine
from mlopt_tflite.packing import pack
from mlopt_tflite.private.ai_edge_litert import schema
from mlopt_tflite.tables import Model, Operator, OperatorCode, SignatureDef, SubGraph, Tensor


@dataclass(frozen=True, kw_only=True)
class SlimProof:
    """What was compared between a file and its slim form."""

    bytes_before: int
    bytes_after: int
    inputs_tried: int       # seeded inputs that ran through both
    identical: bool         # every output had the same bits


def slimmed(model: Model) -> Model:
    """A new `schema.ModelT` without what no runtime reads; `model` is left as it was."""
    model = copy.copy(model)
    model.subgraphs = [_slim_graph(model, i) for i in range(len(model.subgraphs))]
    model.metadata = model.metadataBuffer = model.description = None
    _drop_unused(model)
    return model


def prove(before: bytes, after: bytes, *, seed: int = 0, tries: int = 4) -> SlimProof:
    """Run both on `tries` seeded inputs and compare all outputs bit by bit."""
    old, new = Engine(before), Engine(after)
    identical = True
    for attempt in range(tries):
        inputs = random_inputs(old, seed=seed + attempt)
        a, b = old.run_stored(inputs), new.run_stored(inputs)
        identical &= a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)
    return SlimProof(bytes_before=len(before), bytes_after=len(after), inputs_tried=tries, identical=bool(identical))


def write_slim(model: Model, dest: Path, *, seed: int = 0, tries: int = 4) -> SlimProof:
    """Write the slim form of `model` to `dest`, unless it computes anything else than `model` does."""
    before, after = pack(model), pack(slimmed(model))
    proof = prove(before, after, seed=seed, tries=tries)
    if not proof.identical:
        raise MloptError("the slimmed file computes other outputs than the file before slimming; it was not written")
    dest.write_bytes(after)
    return proof


def random_inputs(engine: Engine, *, seed: int) -> dict[str, np.ndarray]:
    """One stored input for each of an `Engine`'s inputs."""
    random = np.random.default_rng(seed)
    return {name: _random_input(random, shape, dtype) for name, (shape, dtype) in engine.inputs.items()}


def _random_input(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Any stored bits for small integers, a normal distribution for floats, and small indices for token inputs."""
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        info = np.iinfo(dtype)
        return random.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    if dtype.kind in "iu":
        return random.integers(0, 2, shape).astype(dtype)
    return (random.normal(size=shape) * random.choice([1.0, 64.0])).astype(dtype)


def _slim_graph(model: Model, index: int) -> SubGraph:
    graph = copy.copy(model.subgraphs[index])
    graph.name = None
    ports = {int(i) for i in (*graph.inputs, *graph.outputs)}
    used = set(ports)
    for op in graph.operators or []:
        for indices in (op.inputs, op.outputs, op.intermediates):
            used |= {int(i) for i in (indices if indices is not None else ()) if i >= 0}
    for signature in (s for s in model.signatureDefs or [] if s.subgraphIndex == index):
        used |= {int(m.tensorIndex) for m in (*(signature.inputs or ()), *(signature.outputs or ()))}
    kept = sorted(used)
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}
    graph.tensors = [_slim_tensor(model, graph.tensors[i], i in ports) for i in kept]
    graph.inputs, graph.outputs = ([place[int(i)] for i in side] for side in (graph.inputs, graph.outputs))
    graph.operators = [_renumbered(op, place) for op in graph.operators or []]
    model.signatureDefs = [
        _renumbered_signature(s, place) if s.subgraphIndex == index else s for s in model.signatureDefs or []
    ]
    return graph


def _slim_tensor(model: Model, tensor: Tensor, is_port: bool) -> Tensor:
    tensor = copy.copy(tensor)
    if not is_port:
        tensor.name = None
    if not flatfile.is_constant(model, tensor):
        tensor.buffer = 0
    signature = tensor.shapeSignature
    if signature is not None and list(signature) == list(flatfile.shape_of(tensor)):
        tensor.shapeSignature = None
    q = tensor.quantization
    if q is not None and q.details is None and (q.scale is None or len(q.scale) == 0):
        tensor.quantization = None
    elif q is not None:
        tensor.quantization = copy.copy(q)
        tensor.quantization.min = tensor.quantization.max = None
    return tensor


def _renumbered(op: Operator, place: dict[int, int]) -> Operator:
    op = copy.copy(op)
    for field in ("inputs", "outputs", "intermediates"):
        indices = getattr(op, field)
        if indices is not None:
            setattr(op, field, [place[int(i)] for i in indices])
    if op.mutatingVariableInputs is not None and not np.any(op.mutatingVariableInputs):
        op.mutatingVariableInputs = None
    return op


def _renumbered_signature(signature: SignatureDef, place: dict[int, int]) -> SignatureDef:
    new = copy.copy(signature)
    for side in ("inputs", "outputs"):
        entries = getattr(signature, side) or []
        setattr(new, side, [schema.TensorMapT(name=m.name, tensorIndex=place[int(m.tensorIndex)]) for m in entries])
    return new


def _drop_unused(model: Model) -> None:
    """Buffers and operator codes in order of first use; buffer 0 stays the empty one, equal buffers become one."""
    buffers, by_content = [schema.BufferT()], {b"": 0}
    codes: list[OperatorCode] = []
    code_place: dict[int, int] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            content = b"" if data is None else np.asarray(data, np.uint8).tobytes()
            if content not in by_content:
                by_content[content] = len(buffers)
                buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8)))
            tensor.buffer = by_content[content]
        for op in graph.operators:
            if op.opcodeIndex not in code_place:
                code_place[op.opcodeIndex] = len(codes)
                codes.append(model.operatorCodes[op.opcodeIndex])
            op.opcodeIndex = code_place[op.opcodeIndex]
    model.buffers, model.operatorCodes = buffers, codes
