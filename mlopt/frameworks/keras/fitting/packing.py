"""A plan as JSON and arrays, to be built again in another process of ours: no file of it holds code.

Classes go by name and are imported again, so that only a file which our own process wrote is read.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlopt import plain
from mlopt.errors import BadRequest
from mlopt.frameworks.keras.grid.layers import OnGrid, on_grid
from mlopt.frameworks.keras.network.plan import Call, InputSpec, LayerSpec, Plan, Ref
from mlopt.frameworks.keras.quiet import tf


def packed(plan: Plan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What JSON holds, and the constants that it names. Raises `BadRequest` for a plan that cannot be written."""
    packer = _Packer()
    layers = [[name, _class_name(spec.cls), packer.pack(dict(spec.config))] for name, spec in plan.layers.items()]
    calls = [
        [call.layer, list(call.nodes), packer.pack(call.args), packer.pack(dict(call.kwargs))] for call in plan.calls
    ]
    return {
        "name": plan.name, "inputs": plain.to_plain(plan.inputs), "layers": layers, "calls": calls,
        "input_structure": packer.pack(plan.input_structure), "output_structure": packer.pack(plan.output_structure),
        "customs": {name: _class_name(thing) for name, thing in plan.customs.items()},
    }, packer.arrays


def unpacked(told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Plan:
    """The plan that `packed` was given."""
    def read(value: Any) -> Any:
        return _unpacked(value, arrays)

    return Plan(
        name=told["name"], inputs=plain.from_plain(told["inputs"], tuple[InputSpec, ...]),
        layers={name: LayerSpec(cls=_class(cls), config=read(config)) for name, cls, config in told["layers"]},
        calls=tuple(
            Call(layer=layer, nodes=tuple(nodes), args=read(args), kwargs=read(kwargs))
            for layer, nodes, args, kwargs in told["calls"]
        ),
        input_structure=read(told["input_structure"]), output_structure=read(told["output_structure"]),
        customs={name: _class(text) for name, text in told["customs"].items()},
    )


class _Packer:
    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def pack(self, value: Any) -> Any:
        """Each kind that JSON does not tell apart is {its name: content}."""
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Ref):
            return {"ref": value.node}
        if isinstance(value, tf.TensorShape):
            return {"shape": value.as_list()}
        if isinstance(value, tuple):
            return {"tuple": [self.pack(one) for one in value]}
        if isinstance(value, list):
            return [self.pack(one) for one in value]
        if isinstance(value, Mapping):
            return {"dict": [[self.pack(key), self.pack(one)] for key, one in value.items()]}
        if isinstance(value, np.generic):
            return self.pack(value.item())
        if isinstance(value, tf.DType):
            return {"dtype": value.name}
        if isinstance(value, np.ndarray) or (tf.is_tensor(value) and hasattr(value, "numpy")):
            name = f"constant{len(self.arrays)}"
            self.arrays[name] = np.asarray(value)
            return {"array" if isinstance(value, np.ndarray) else "tensor": name}
        raise _untold(f"it holds a {type(value).__name__}")


def _unpacked(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpacked(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(_unpacked(one, arrays) for one in content)
    if kind == "dict":
        return {_unpacked(key, arrays): _unpacked(one, arrays) for key, one in content}
    if kind == "array":
        return arrays[content]
    if kind == "tensor":
        return tf.constant(arrays[content])
    return {"ref": Ref, "shape": tf.TensorShape, "dtype": tf.as_dtype}[kind](content)


def _class_name(thing: Any) -> str:
    """Such as "grid tf_keras.layers:Dense" for a layer with a grid, whose class is made at run time."""
    if isinstance(thing, type) and issubclass(thing, OnGrid) and thing is not OnGrid:
        return f"grid {_class_name(thing.__mro__[2])}"
    module, name = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
    if not module or getattr(importlib.import_module(module), name, None) is not thing:
        raise _untold(f"{name or thing!r} is no name of a module")
    return f"{module}:{name}"


def _class(text: str) -> Any:
    name = text.removeprefix("grid ")
    found = plain.resolve(name)
    return found if name == text else on_grid(found)


def _untold(why: str) -> BadRequest:
    return BadRequest(
        f"this training cannot be handed to other processes ({why}): train it with --strategy one or mirrored"
    )
