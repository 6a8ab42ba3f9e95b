"""Where synthesised inputs begin: noise with the spectrum of real signals, over the ranges that people train on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlopt.frameworks.keras.statistics import Range
from mlopt.model import TensorSpec

# Centre and spread of photographs, in the units that training pipelines use; the last two have a channel's mean
# taken off, without and with division by the deviation.
IMAGE_RANGES = (
    Range(center=np.array(120.0), spread=np.array(64.0), low=0, high=255),
    Range(center=np.array(0.47), spread=np.array(0.25), low=0, high=1),
    Range(center=np.array(-0.06), spread=np.array(0.5), low=-1, high=1),
    Range(center=np.array(0.0), spread=np.array(64.0)),
    Range(center=np.array(0.0), spread=np.array(1.0)),
)
SPREADS = tuple(10.0**exponent for exponent in (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2))
CENTERS = (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)      # in spreads
ROUGHNESS = (0.5, 1.0, 1.5)                            # photographs have about 1: amplitude falls as 1 / frequency


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where the descent begins for one input."""

    range: Range
    fall: float               # amplitude falls as 1 / frequency ** fall; 0 is white noise


def starts(spec: TensorSpec, stated: Range | None) -> list[Start]:
    """What to try for an input: only the range that the network states, where it does; the known conventions first."""
    image = spec.layout in ("NHWC", "NCHW")
    falls = ROUGHNESS if image else (0.0, 1.0) if len(spec.shape) == 3 else (0.0,)
    ranges = [stated] if stated is not None else [*(IMAGE_RANGES if image else ()), *_ladder()]
    return [Start(range=one, fall=fall) for one in ranges for fall in falls]


def _ladder() -> Iterator[Range]:
    for spread in SPREADS:
        for center in CENTERS:
            yield Range(center=np.array(center * spread), spread=np.array(spread))


def noise(random: np.random.Generator, spec: TensorSpec, count: int, fall: float) -> np.ndarray:
    """Coloured noise [count, ...], float32, each channel with mean 0 and deviation 1 over all samples.

    Axes of space and time get an amplitude spectrum that falls as 1 / frequency ** fall, for each sample on its own, so
    that samples differ in brightness; channels share most of it, as the colours of a photograph do.
    """
    shape = (count, *(int(size or 1) for size in spec.shape[1:]))
    axes = [i for i, letter in enumerate(spec.layout) if letter in "HWT"]
    channel = spec.layout.find("C") if axes else -1
    white = random.standard_normal(shape)
    if channel > 0:
        shared = random.standard_normal([1 if i == channel else size for i, size in enumerate(shape)])
        white = np.sqrt(0.8) * shared + np.sqrt(0.2) * white
    if axes and fall:
        grid = np.meshgrid(*(np.fft.fftfreq(shape[i]) * shape[i] for i in axes), indexing="ij")
        frequency = np.sqrt(sum(g**2 for g in grid))
        gain = 1 / np.maximum(frequency, 0.7) ** fall
        gain = gain.reshape([shape[i] if i in axes else 1 for i in range(len(shape))])
        white = np.fft.ifftn(np.fft.fftn(white, axes=axes) * gain, axes=axes).real
    over = tuple(i for i in range(len(shape)) if i != channel)
    white = (white - white.mean(axis=over, keepdims=True)) / (white.std(axis=over, keepdims=True) + 1e-12)
    return white.astype(np.float32)


def in_range(unit: np.ndarray, spec: TensorSpec, where: Range) -> np.ndarray:
    """Unit noise moved to a range and kept inside of it."""
    return np.clip(
        along(where.center, spec) + along(where.spread, spec) * unit, where.low, where.high, dtype=np.float32
    )


def along(values: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """A scalar, or one value a channel, in a shape that meets the input's [N, ...]."""
    rank, channel = len(spec.shape), spec.layout.find("C")
    if values.size == 1 or channel < 1 or values.size != spec.shape[channel]:
        return np.full([1] * rank, values.mean(), np.float32)
    return values.reshape([-1 if i == channel else 1 for i in range(rank)]).astype(np.float32)
