"""A Core ML package in the MIL reference evaluator, and what it really stores."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mlopt import files
from mlopt.artifact import Contract, PortContract, Storage, StoredLayer
from mlopt.errors import MloptError, ModelUnreadable
from mlopt.model import Signature, TensorSpec
from mlopt_coreml.mil.blob import DamagedWeights
from mlopt_coreml.mil.evaluator import Evaluator
from mlopt_coreml.mil.program import Operation, Port, Program
from mlopt_coreml.mil.threads import one_thread_per_product
from mlopt_coreml.names import port_names
from mlopt_coreml.package import program_of, read_package
from mlopt_coreml.stored import Stored, stored_weights, weight_uses


class CoreMLRuntime:
    """A package that answers by the source model's names."""

    def __init__(self, program: Program, contract: Contract) -> None:
        self.contract = contract
        one_thread_per_product()
        self._evaluator = Evaluator(program)
        self._staged: dict[str, np.ndarray] = {}

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        prepared = self._prepared(inputs)
        count = len(next(iter(prepared.values())))
        step = self._evaluator.batch_size
        batches = [{k: v[i : i + step] for k, v in prepared.items()} for i in range(0, count, step)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:      # numpy works outside of Python's lock
            parts = list(pool.map(self._run, batches))
        if not parts:
            return {port.name: np.zeros((0, *(d or 0 for d in port.shape[1:])), np.float32)
                    for port in self.contract.outputs}
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def stage(self, inputs: Mapping[str, np.ndarray]) -> None:
        self._staged = self._prepared(inputs)

    def invoke(self) -> None:
        self._evaluator.run(self._staged)

    def tensors(self, inputs: Mapping[str, np.ndarray], names: frozenset[str]) -> dict[str, np.ndarray]:
        """Values inside the program for a batch of samples, [N, *declared shape] by the program's own names."""
        return self._evaluator.run(self._prepared(inputs), keep=names)

    def _prepared(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """By stored names; [N, ...] becomes [N, 1, ...], as the program's shapes hold a batch of 1."""
        return {port.stored_name: np.asarray(inputs[port.name])[:, None] for port in self.contract.inputs}

    def _run(self, prepared: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = self._evaluator.run(prepared)
        return {
            port.name: np.ascontiguousarray(values[port.stored_name][:, 0], dtype=np.float32)
            for port in self.contract.outputs
        }


def open_runtime(file: Path, signature: Signature) -> CoreMLRuntime:
    program = program_of(read_package(file), file)
    inputs = {port.name: port for port in program.inputs}
    outputs = {name: Port(name, program.types[name]) for name in program.outputs}
    contract = Contract(
        inputs=_matched(file, signature.inputs, inputs), outputs=_matched(file, signature.outputs, outputs)
    )
    try:
        return CoreMLRuntime(program, contract)
    except DamagedWeights as err:
        raise ModelUnreadable(file, f"its weight file is damaged: {err}") from err


def _matched(file: Path, specs: tuple[TensorSpec, ...], ports: Mapping[str, Port]) -> tuple[PortContract, ...]:
    """Each of the source's tensors with its port in the file, which the exporter named after it."""
    names = port_names([spec.name for spec in specs])
    contracts = []
    for spec in specs:
        port = ports.get(names[spec.name])
        if port is None:
            raise ModelUnreadable(file, f"it has no {names[spec.name]!r} for the model's {spec.describe()}; "
                                        f"it has {', '.join(ports) or 'nothing'}")
        shape = port.type.shape
        if len(shape) != len(spec.shape) or shape[:1] != (1,):
            raise MloptError(f"{file}: {port.name} has shape {list(shape)}, the model has {spec.describe()}: "
                             "the samples of a batch cannot be told apart")
        contracts.append(
            PortContract(
                name=spec.name, stored_name=port.name, shape=shape, layout=spec.layout, dtype=port.type.dtype
            )
        )
    return tuple(contracts)


def read_storage(file: Path) -> Storage:
    """What each weight is stored as, from the package's own program and weight file."""
    program = program_of(read_package(file), file)
    weights = stored_weights(program)
    layers: list[StoredLayer] = []
    counted: set[str] = set()
    by_dtype: dict[str, int] = {}
    for op, name in weight_uses(program):
        stored = weights[name]
        layers.append(_layer(program, op, stored))
        if name not in counted:
            counted.add(name)
            by_dtype[stored.label] = by_dtype.get(stored.label, 0) + stored.elements
    others = sum(s.elements for name, s in weights.items() if name not in counted and s.label.startswith("float"))
    if others:
        by_dtype["bias"] = others
    ops: dict[str, int] = {}
    for op in program.operations:
        if op.kind != "const" and not op.kind.startswith("constexpr_"):
            dtype = op.outputs[0].type.dtype
            ops[dtype] = ops.get(dtype, 0) + 1
    held = sum(stored.bytes for stored in weights.values())
    return Storage(
        weights_by_dtype=by_dtype, ops_by_dtype=ops, layers=tuple(layers), overhead_bytes=files.size(file) - held
    )


def _layer(program: Program, op: Operation, stored: Stored) -> StoredLayer:
    first = next((a for p in ("x", "values", "indices") for a in op.arguments.get(p, ()) if isinstance(a, str)), "")
    activation = program.types[first].dtype if first in program.types else op.outputs[0].type.dtype
    return StoredLayer(
        name=op.name, op=op.kind, weight_dtype=stored.label, activation_dtype=activation, elements=stored.elements,
        bytes=stored.bytes,
    )
