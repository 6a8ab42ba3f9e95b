"""Files whose numbers are those of a trained grid: nothing is searched, evened out, rounded again or corrected."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlopt.convert.trained import SAYS, Kernel, OnGrid, factor_notes, kernels_on
from mlopt.grid import Grid
from mlopt_tflite import flatfile, weight_files
from mlopt_tflite.settle import settle
from mlopt_tflite.tables import Model
from mlopt_tflite.weights import Quantized, layers, spanned, weight_of
from mlopt_tflite.written import Written


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A float file with the grid of its network. `kernels` are by operation."""

    model: Model
    content: bytes
    grid: Grid
    kernels: Mapping[int, OnGrid]

    @classmethod
    def of(cls, float_file: Path, grid: Grid) -> "Trained":
        """Raises `GridMismatch` where a node's kernel is not in the file."""
        content = float_file.read_bytes()
        model = flatfile.parse(content, float_file)
        kernels = {
            layer.op: Kernel(
                values=weight_of(model, layer), axis=layer.axis, label=layer.label,
                depthwise=layer.kind == "DEPTHWISE_CONV_2D",
            )
            for layer in layers(model)
        }
        return cls(model=model, content=content, grid=grid, kernels=kernels_on(kernels, grid))

    def weights(self, four: frozenset[str]) -> dict[int, Quantized]:
        """By operation; 4-bit numbers are stored in 4 bits for the kinds in `four` and in 8 bits elsewhere."""
        found = {}
        for layer in layers(self.model):
            on = self.kernels.get(layer.op)
            if on is None:
                found[layer.op] = spanned(weight_of(self.model, layer), layer.axis, 8)
            else:
                bits = on.bits if layer.kind in four else 8
                found[layer.op] = Quantized(values=on.whole, scale=on.steps, axis=layer.axis, bits=bits)
        return found


def weights_file(trained: Trained) -> Written:
    """Trained weights, stored in 8 bits and unpacked when the file is loaded."""
    weights, tables = trained.weights(frozenset()), weight_files.tables(trained.model)
    model = weight_files.with_tables(weight_files.unpacked(trained.model, weights, {}), tables)
    choices = described(trained, weights) | {"activations": "float"}
    return model, choices, weight_notes(trained, weights, frozenset())


def dynamic_file(trained: Trained, *, four: frozenset[str]) -> Written:
    """Trained weights; activations are floats, rounded to 8 bits at run time."""
    weights, tables = trained.weights(four), weight_files.tables(trained.model)
    model, refused = settle(
        trained.model,
        lambda in_float: weight_files.with_tables(weight_files.dynamic(trained.model, weights, in_float), tables),
    )
    choices = described(trained, weights) | {"activations": "rounded to 8 bits at run time"}
    return model, choices, (*refused, *weight_notes(trained, weights, four))


def described(trained: Trained, weights: Mapping[int, Quantized]) -> dict[str, str]:
    """The choices of a file whose kernels are on the grid."""
    bits = [trained.kernels[op].bits for op in weights if op in trained.kernels]
    stored = [q.bits for op, q in weights.items() if op in trained.kernels]
    counts = ", ".join(f"{n} bits in {bits.count(n)} layers" for n in (4, 8) if n in bits)
    inside = "" if bits == stored else f", of which {stored.count(4)} are stored in 4 bits and {stored.count(8)} in 8"
    return {
        "weights": f"trained grid: {counts}{inside}",
        "rounding": SAYS,
        "bias": SAYS,
        "equalization": "none: it would leave the trained grid",
    }


def weight_notes(trained: Trained, weights: Mapping[int, Quantized], four: frozenset[str]) -> tuple[str, ...]:
    """On layers that training did not round, and on those that `four` leaves out: LiteRT cannot run their 4 bits."""
    known = {layer.op: layer for layer in layers(trained.model)}
    free = [layer.label for op, layer in known.items() if op not in trained.kernels]
    notes = [f"{', '.join(free)} are not on the trained grid: rounded to 8 bits, to the nearest"] if free else []
    if four:
        wide = [known[op].label for op, on in trained.kernels.items() if on.bits == 4 and weights[op].bits == 8]
        if wide:
            notes.append(f"{', '.join(wide)} store trained 4-bit weights in 8 bits: LiteRT has no 4-bit kernel there")
    return (*notes, *factor_notes(trained.kernels.values()))
