"""A TFLite file in LiteRT, one sample at a time: stored numbers in and out, or real ones.

Used by everything here that must know what a file computes. One thread: what is chosen here must not depend on how
many cores the host has.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypedDict

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mlopt.errors import DataMismatch, MloptError
from mlopt_tflite.flatfile import first_line
from mlopt_tflite.private.ai_edge_litert import signatures


class Details(TypedDict):
    """Of what LiteRT says of a tensor: the part that is read here."""

    name: str
    index: int
    shape: np.ndarray
    dtype: type[np.generic]
    quantization: tuple[float, int]     # scale and zero point; a scale of 0 where the tensor is not quantized


class Engine:
    """`inputs` and `outputs` map the signature's names to (shape, dtype) as stored.

    Samples are independent: what a recurrent layer remembers in variable tensors is forgotten before each one.
    """

    def __init__(self, content: bytes, *, name: str = "the file", keep_all: bool = False) -> None:
        """`keep_all` keeps every tensor readable after a run, at the price of slower kernels."""
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if keep_all else OpResolverType.AUTO
        self.name = name
        with runtime_errors(name, "load"):
            self.interpreter = Interpreter(
                model_content=content,
                num_threads=1,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=keep_all,
            )
            self.interpreter.allocate_tensors()
        self._in = _ports(self.interpreter, "inputs", self.interpreter.get_input_details())
        self._out = _ports(self.interpreter, "outputs", self.interpreter.get_output_details())
        self.inputs = {n: (tuple(int(d) for d in p["shape"]), np.dtype(p["dtype"])) for n, p in self._in.items()}
        self.outputs = {n: (tuple(int(d) for d in p["shape"]), np.dtype(p["dtype"])) for n, p in self._out.items()}

    def tensor(self, index: int) -> np.ndarray:
        """A copy of a tensor's stored values; an inner tensor only where `keep_all` was asked for."""
        return self.interpreter.get_tensor(index)

    def readable(self, index: int) -> bool:
        """False for a tensor that LiteRT does not keep after a run: some that control flow makes."""
        try:
            self.interpreter.get_tensor(index)
        except ValueError:
            return False
        return True

    def run_stored(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One inference on arrays of exactly the stored shapes and types."""
        for name, port in self._in.items():
            self.interpreter.set_tensor(port["index"], inputs[name])
        self.interpreter.reset_all_variables()
        with runtime_errors(self.name, "run"):
            self.interpreter.invoke()
        return {name: self.interpreter.get_tensor(port["index"]) for name, port in self._out.items()}

    def stage(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Quantize one sample of real numbers into the input tensors."""
        for name, port in self._in.items():
            shape, dtype = self.inputs[name]
            stored = to_stored(inputs[name], dtype, *port["quantization"])
            self.interpreter.set_tensor(port["index"], stored.reshape(shape))
        self.interpreter.reset_all_variables()

    def invoke(self) -> None:
        self.interpreter.invoke()

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Real numbers [N, ...] in, float32 [N, ...] out; N runs of one sample each, into arrays made once."""
        count = rows_of(inputs, self.inputs, self.name)
        stored = {
            name: to_stored(inputs[name], dtype, *self._in[name]["quantization"]).reshape(count, *shape)
            for name, (shape, dtype) in self.inputs.items()
        }
        results = {name: np.empty((count, *shape), dtype) for name, (shape, dtype) in self.outputs.items()}
        feeds = [(self.interpreter.tensor(p["index"]), stored[n]) for n, p in self._in.items()]
        reads = [(self.interpreter.tensor(p["index"]), results[n]) for n, p in self._out.items()]
        invoke, forget = self.interpreter.invoke, self.interpreter.reset_all_variables
        with runtime_errors(self.name, "run"):
            for row in range(count):
                for view, array in feeds:
                    view()[...] = array[row]
                forget()
                invoke()
                for view, array in reads:
                    array[row] = view()
        return {
            name: without_row_axis(to_real(results[name], *port["quantization"]), self.outputs[name][0])
            for name, port in self._out.items()
        }


def rows_of(inputs: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[tuple[int, ...], np.dtype]], name: str) -> int:
    """How many samples `inputs` holds, once it is sure that they fit."""
    missing = [n for n in wanted if n not in inputs]
    if missing:
        raise DataMismatch("the inputs", f"{', '.join(wanted)}", f"{', '.join(inputs) or 'nothing'}", f"({name})")
    counts = {len(inputs[n]) for n in wanted}
    if len(counts) != 1:
        raise DataMismatch("the inputs", "as many rows in each input", f"{sorted(counts)} rows")
    count = counts.pop()
    for n, (shape, _) in wanted.items():
        if int(np.prod(np.shape(inputs[n])[1:], dtype=np.int64)) != int(np.prod(shape, dtype=np.int64)):
            found = f"{n}: {list(np.shape(inputs[n])[1:])} a sample"
            raise DataMismatch("the inputs", f"{n}: {list(shape[1:])} a sample", found)
    return count


def without_row_axis(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[N, 1, ...] from runs of one sample -> [N, ...]; an output that has no batch axis keeps its own shape."""
    return rows.reshape(rows.shape[0], *shape[1:]) if shape and shape[0] == 1 else rows


def to_stored(real: np.ndarray, dtype: np.dtype, scale: float, zero_point: int) -> np.ndarray:
    """As TFLite's QUANTIZE: round(real / scale) + zero_point, clipped to the type.

    An exact half goes to the even number, as in the optimised kernels; the reference kernels round it away from zero.

    >>> to_stored(np.array([0.24, 0.75, -0.3, 99.0]), np.dtype("int8"), 0.5, 1).tolist()
    [1, 3, 0, 127]
    """
    if scale == 0.0 or dtype.kind == "f":
        return np.asarray(real).astype(dtype, copy=False)
    rounded = np.rint(np.asarray(real, np.float32) / np.float32(scale)) + zero_point
    info = np.iinfo(dtype)
    return np.clip(rounded, info.min, info.max).astype(dtype)


def to_real(stored: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    if scale == 0.0:
        return stored.astype(np.float32)
    return ((stored.astype(np.int32) - zero_point) * np.float32(scale)).astype(np.float32)


@contextmanager
def runtime_errors(name: str, doing: str) -> Iterator[None]:
    """LiteRT raises ValueError and RuntimeError; here they become ours, with its words."""
    try:
        yield
    except (ValueError, RuntimeError) as err:
        raise MloptError(f"LiteRT cannot {doing} {name}: {first_line(err)}") from err


def _ports(interpreter: Interpreter, side: str, details: Sequence[Details]) -> dict[str, Details]:
    """Signature name -> the tensor's details; the tensors' own names where the file has no signature."""
    by_index = {d["index"]: d for d in details}
    for signature in signatures(interpreter).values():
        named = {name: by_index[index] for name, index in signature[side].items() if index in by_index}
        if len(named) == len(signature[side]):
            return named
    return {d["name"]: d for d in details}
