"""An exported file in LiteRT: the source model's names and real numbers outside, stored numbers inside."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlopt.artifact import Contract, PortContract
from mlopt.errors import ModelUnreadable
from mlopt.model import Signature, TensorSpec
from mlopt_tflite import flatfile
from mlopt_tflite.engine import Engine
from mlopt_tflite.tables import Model, Tensor


class LiteRTFile:
    """One file, loaded; one thread."""

    def __init__(self, engine: Engine, contract: Contract) -> None:
        self.engine, self.contract = engine, contract

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.engine.predict(inputs)

    def stage(self, inputs: Mapping[str, np.ndarray]) -> None:
        self.engine.stage(inputs)

    def invoke(self) -> None:
        self.engine.interpreter.invoke()


def open_runtime(file: Path, signature: Signature) -> LiteRTFile:
    """Load `file`; it must have the inputs and outputs that `signature` names."""
    model = flatfile.read(file)
    engine = Engine(file.read_bytes(), name=file.name)
    contract = Contract(
        inputs=tuple(_port(model, s, flatfile.input_names(model), file) for s in signature.inputs),
        outputs=tuple(_port(model, s, flatfile.output_names(model), file) for s in signature.outputs),
    )
    return LiteRTFile(engine, contract)


def _port(model: Model, spec: TensorSpec, names: Mapping[str, int], file: Path) -> PortContract:
    if spec.name not in names:
        found = f"its signature has {', '.join(names) or 'nothing'} where {spec.name} is wanted"
        raise ModelUnreadable(file, found, "It was made from another model.")
    tensor = model.subgraphs[0].tensors[names[spec.name]]
    shape = flatfile.shape_of(tensor)
    same_rank = len(spec.shape) == len(shape)
    if same_rank and any(w not in (None, f) for w, f in zip(spec.shape[1:], shape[1:], strict=True)):
        raise ModelUnreadable(file, f"{spec.name} has the shape {list(shape)} where the model has {spec.describe()}")
    scale, zero_point = _affine(tensor)
    stored_name = tensor.name.decode("utf-8", "replace") if isinstance(tensor.name, bytes) else (tensor.name or "")
    return PortContract(
        name=spec.name,
        stored_name=stored_name,
        shape=shape,
        layout=spec.layout,
        dtype=flatfile.type_name(tensor),
        scale=scale,
        zero_point=zero_point,
    )


def _affine(tensor: Tensor) -> tuple[float, int]:
    """(scale, zero point) of a port; (1, 0) where it is not quantized."""
    q = tensor.quantization
    if q is None or q.scale is None or q.zeroPoint is None or len(q.scale) != 1:
        return 1.0, 0
    return float(q.scale[0]), int(q.zeroPoint[0])
