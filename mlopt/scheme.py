"""Quantization schemes: which integers stand for weights and activations, as one value that training and files share.

A scheme says what a training rounds to. What of it a file can hold is that file's own answer: see `GridStorage`.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Granularity(enum.Enum):
    """What has one step."""

    TENSOR = "tensor"
    CHANNEL = "channel"     # of the output


@dataclass(frozen=True, kw_only=True)
class IntegerFormat:
    """Real numbers as integers: real = step * (integer - zero point)."""

    bits: int
    granularity: Granularity
    symmetric: bool         # the zero point is 0, and the integers reach as far below it as above
    learnt: bool            # steps are trained; else they follow from the values: the largest has the largest integer


@dataclass(frozen=True, kw_only=True)
class QuantizationScheme:
    """What a network is rounded to. With several weight formats, a budget of bytes decides which kernel has which."""

    name: str
    about: str                              # one sentence
    weights: tuple[IntegerFormat, ...]      # that a kernel may have, the widest first, each of other bits
    activations: IntegerFormat | None       # None: they stay floats

    @property
    def chooses(self) -> bool:
        """Whether kernels differ in their format."""
        return len(self.weights) > 1

    def weight_format(self, bits: int) -> IntegerFormat:
        return next(format for format in self.weights if format.bits == bits)


@dataclass(frozen=True, kw_only=True)
class GridStorage:
    """What a file stores of numbers that training has put on a grid."""

    weight_bits: tuple[int, ...]            # widths of its kernels; fewer bits are stored in the next wider
    activation_bits: int | None = None      # None: its activations are floats, and a scheme's ranges go unused
    granularities: tuple[Granularity, ...] = tuple(Granularity)
    asymmetric: bool = False                # whether weights may have a zero point

    def refusal(self, scheme: QuantizationScheme) -> str:
        """Why a file cannot hold the numbers of a network trained on `scheme`, or has no reason to; "" where it can."""
        widths = [format.bits for format in scheme.weights]
        if max(widths) > max(self.weight_bits):
            return f"{scheme.name} has weights of {max(widths)} bits, and this stores {max(self.weight_bits)} at most"
        if min(self.weight_bits) < min(widths):
            return f"{scheme.name} has no weights of {min(self.weight_bits)} bits, which this is for"
        for format in scheme.weights:
            if format.granularity not in self.granularities:
                return f"{scheme.name} has one step a {format.granularity.value}, which this does not store"
            if not format.symmetric and not self.asymmetric:
                return f"{scheme.name} has weights with a zero point, which this does not store"
        given = scheme.activations
        if self.activation_bits is not None and given is not None and given.bits != self.activation_bits:
            return f"{scheme.name} has activations of {given.bits} bits, and this stores {self.activation_bits}"
        return ""


_WEIGHTS_8 = IntegerFormat(bits=8, granularity=Granularity.CHANNEL, symmetric=True, learnt=False)
_WEIGHTS_4 = IntegerFormat(bits=4, granularity=Granularity.CHANNEL, symmetric=True, learnt=True)
_ACTIVATIONS_8 = IntegerFormat(bits=8, granularity=Granularity.TENSOR, symmetric=False, learnt=True)

INT8 = QuantizationScheme(
    name="int8", about="weights and activations at 8 bits.", weights=(_WEIGHTS_8,), activations=_ACTIVATIONS_8,
)
MIXED_4_8 = QuantizationScheme(
    name="mixed-4-8", about="kernels at 4 bits where it hurts least.", weights=(_WEIGHTS_8, _WEIGHTS_4),
    activations=_ACTIVATIONS_8,
)
SCHEMES: Mapping[str, QuantizationScheme] = {scheme.name: scheme for scheme in (INT8, MIXED_4_8)}
