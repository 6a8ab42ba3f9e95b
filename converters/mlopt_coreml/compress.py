"""Ways of storing one weight tensor in fewer bytes; each gives the operations that open it again on the device.

The forms are those of iOS 18, as coremltools' own optimisers write them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlopt_coreml.messages import Numbers, operation
from mlopt_coreml.mil.program import TensorType
from mlopt_coreml.palettes import best_table, nearest
from mlopt_coreml.private.coremltools import MIL_pb2
from mlopt_coreml.rounding import balanced

# What a compressed weight costs beside its numbers: the longer operation and another record in the weight file.
FORM_BYTES = 256


@dataclass(frozen=True)
class Weight:
    """A weight tensor of a float16 program."""

    name: str                  # of the value in the program
    layer: str                 # the first operation that reads it
    values: np.ndarray         # float64
    channel_axis: int          # the axis of output channels

    @property
    def type(self) -> TensorType:
        return TensorType("float16", self.values.shape)

    @property
    def other_axes(self) -> tuple[int, ...]:
        return tuple(i for i in range(self.values.ndim) if i != self.channel_axis % self.values.ndim)

    @property
    def float_bytes(self) -> int:
        return 2 * self.values.size


@dataclass(frozen=True)
class Compressed:
    operations: Sequence[MIL_pb2.Operation]     # the last gives the weight's name
    bytes: int                    # of all numbers stored
    noise: float                  # mean over channels of squared error over squared weights
    how: str = ""


def noise(weight: Weight, stored: np.ndarray) -> float:
    """Squared error of each output channel over that channel's squares, averaged over the channels.

    A channel's size is a convention: it can be moved into the next layer. So an error counts relative to its channel.
    """
    axes = weight.other_axes
    error = np.square(weight.values - stored).sum(axis=axes)
    size = np.square(weight.values).sum(axis=axes)
    return float(np.divide(error, size, out=np.zeros_like(error), where=size > 0).mean())


def chosen(weight: Weight, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """True where the stored weight is `high`, the next value above; equal bounds leave no choice."""
    up = high - weight.values < weight.values - low
    errors = low - weight.values, high - weight.values
    first, second = (np.moveaxis(np.where(a, errors[1], errors[0]), weight.channel_axis, 0) for a in (up, ~up))
    return up ^ np.moveaxis(balanced(first, second), 0, weight.channel_axis)


def channel_scales(weight: Weight, largest: int) -> np.ndarray:
    """For each output channel the float16 scale by which its largest weight becomes at most `largest`, rank kept."""
    wanted = np.abs(weight.values).max(axis=weight.other_axes, keepdims=True) / largest
    scales = wanted.astype(np.float16)
    scales = np.where(scales < wanted, np.nextafter(scales, np.float16(np.inf)), scales)   # never too small
    return np.where(wanted > 0, scales, np.float16(1))


def whole_numbers(weight: Weight, scales: np.ndarray) -> np.ndarray:
    """-127..127 in units of the scales, int8; a weight that is zero stays zero."""
    steps = scales.astype(np.float64)
    low = np.clip(np.floor(weight.values / steps), -127, 127)
    high = np.where(weight.values == 0, 0, np.clip(np.ceil(weight.values / steps), -127, 127))
    return np.where(chosen(weight, low * steps, high * steps), high, low).astype(np.int8)


def table_indices(weight: Weight, values: np.ndarray, table: np.ndarray, unit: np.ndarray | float = 1.0) -> np.ndarray:
    """The index of the number of the ascending `table` that stands for each of `values`; weight = value x unit."""
    above = np.clip(np.searchsorted(table, values), 0, len(table) - 1)
    below = np.where(table[above] <= values, above, np.maximum(above - 1, 0))
    above = np.where(table[below] >= values, below, above)
    return np.where(chosen(weight, table[below] * unit, table[above] * unit), above, below).astype(np.uint8)


def int8(weight: Weight) -> Compressed:
    """Whole numbers -127..127 and a scale for each output channel."""
    scales = channel_scales(weight, 127)
    whole = whole_numbers(weight, scales)
    data, scale = Numbers("int8", whole), Numbers("float16", scales)
    opened = operation(
        "constexpr_blockwise_shift_scale", [(weight.name, weight.type)], {"data": data, "scale": scale}
    )
    return Compressed(
        [opened], whole.size + 2 * scales.size, noise(weight, whole * scales.astype(np.float64))
    )


def sparse_int8(weight: Weight) -> Compressed:
    """A bit for each weight that says whether it is zero; the others as in `int8`."""
    scales = channel_scales(weight, 127)
    whole = whole_numbers(weight, scales)
    mask = (whole != 0).astype(np.uint8)
    nonzero = whole[mask != 0]
    flat = TensorType("float16", nonzero.shape)
    names = [(f"{weight.name}_mask", TensorType("uint1", mask.shape)), (f"{weight.name}_nonzero", flat)]
    scaled = operation(
        "constexpr_sparse_blockwise_shift_scale",
        names,
        {
            "data_mask": Numbers("uint1", mask),
            "nonzero_data": Numbers("int8", nonzero),
            "scale": Numbers("float16", scales),
        },
    )
    dense = operation(
        "constexpr_sparse_to_dense", [(weight.name, weight.type)], {"mask": names[0][0], "nonzero_data": names[1][0]}
    )
    stored = (mask.size + 7) // 8 + nonzero.size + 2 * scales.size
    return Compressed([scaled, dense], stored, noise(weight, whole * scales.astype(np.float64)))


def palette(weight: Weight, bits: int) -> Compressed:
    """One table of 2**bits values, and a scale for each channel beside it where that removes a fifth of the noise.

    Scales pay where channels differ much and are short, as in depthwise convolutions. Tables of 16 values, quick to
    find, tell which it is. A layer that has no more different weights than that keeps each of them, in one table.
    """
    if len(np.unique(weight.values)) <= 2**bits:
        return _one_table(weight, bits)
    unit = _channel_units(weight).astype(np.float64)
    alike = weight.values / unit
    plain, scaled = best_table(weight.values, 16), best_table(alike, 16)
    plain_noise = noise(weight, plain[nearest(weight.values, plain)])
    scaled_noise = noise(weight, scaled[nearest(alike, scaled)] * unit)
    return _scaled_table(weight, bits) if scaled_noise < 0.8 * plain_noise else _one_table(weight, bits)


def _channel_units(weight: Weight) -> np.ndarray:
    """Each output channel's root mean square in float16, 1 for a channel of zeros; rank kept."""
    spread = np.sqrt(np.square(weight.values).mean(axis=weight.other_axes, keepdims=True)).astype(np.float16)
    return np.where(spread > 0, spread, np.float16(1))


def _one_table(weight: Weight, bits: int) -> Compressed:
    table = _table(weight.values, bits)
    indices = table_indices(weight, weight.values, table.astype(np.float64))
    opened = _looked_up(weight, weight.name, indices, table, bits)
    size = (indices.size * bits + 7) // 8 + 2 * table.size
    return Compressed([opened], size, noise(weight, table.astype(np.float64)[indices]), "one table")


def _scaled_table(weight: Weight, bits: int) -> Compressed:
    scales = _channel_units(weight)
    unit = scales.astype(np.float64)
    alike = weight.values / unit
    table = _table(alike, bits)
    indices = table_indices(weight, alike, table.astype(np.float64), unit)
    inner = f"{weight.name}_alike"
    opened = operation(
        "constexpr_blockwise_shift_scale", [(weight.name, weight.type)],
        {"data": inner, "scale": Numbers("float16", scales)},
    )
    size = (indices.size * bits + 7) // 8 + 2 * table.size + 2 * scales.size
    return Compressed(
        [_looked_up(weight, inner, indices, table, bits), opened],
        size,
        noise(weight, table.astype(np.float64)[indices] * unit),
        "one table and a scale for each channel",
    )


def _table(values: np.ndarray, bits: int) -> np.ndarray:
    """2**bits ascending float16 numbers; equal ones at the end are never used."""
    return np.sort(best_table(values, 2**bits).astype(np.float16))


def _looked_up(weight: Weight, name: str, indices: np.ndarray, table: np.ndarray, bits: int) -> MIL_pb2.Operation:
    lut = table.reshape((1,) * weight.values.ndim + (-1, 1))
    return operation(
        "constexpr_lut_to_dense",
        [(name, weight.type)],
        {"indices": Numbers(f"uint{bits}", indices), "lut": Numbers("float16", lut)},
    )
