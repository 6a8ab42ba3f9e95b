"""Move scale between layers without changing the network, so that channels fill one shared integer range evenly.

Between two layers with nothing but positively homogeneous operations in between (none, ReLU, leaky ReLU, pooling),
channel c may be divided by any s > 0 where it is written, weights and bias, and multiplied by s where it is read:

    read @ f(write @ x + bias)  =  (read * s) @ f((write / s) @ x + bias / s)      since f(x / s) = f(x) / s

The idea and the factors of `weight_factors`: Nagel et al. 2019, "Data-free quantization through weight equalization and
bias correction"; balancing activations against the weights that read them: Xiao et al. 2022, "SmoothQuant".
Everything here works on arrays and knows no file format. All factors divide what a link carries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

BALANCED = 1.5      # bits; a link whose channels lose fewer is left alone, and so is a network that has no other
STEEPEST = 2.0**12  # the largest ratio of two factors of one link: beyond it a bias would leave its 32 bits


@dataclass(frozen=True, kw_only=True)
class Link:
    """One tensor between two layers, channel by channel: arrays [channels]. `writer` and `reader` name the layers."""

    writer: int
    reader: int
    peaks: np.ndarray             # the largest magnitude that samples showed
    written: np.ndarray           # the largest weight that writes the channel
    read: np.ndarray              # the largest weight that reads it
    shares: np.ndarray | None     # the same, each weight as a part of the largest of its output channel; None where the
                                  # reader is depthwise: a channel of its own has a scale of its own


def bits_lost(peaks: np.ndarray) -> float:
    """Bits of a shared integer range that the mean channel leaves unused: the mean of log2(largest peak / its own).

    Channels that are always zero do not count; 0 where there are none.

    >>> bits_lost(np.array([8.0, 2.0, 0.0])), bits_lost(np.zeros(2))
    (1.0, 0.0)
    """
    alive = peaks[peaks > 0]
    return float(np.mean(np.log2(alive.max() / alive))) if alive.size else 0.0


def weight_factors(ranges: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Factors for the links of a chain of layers, after which each layer's weights have the same range in a channel.

    `ranges` gives for each layer the largest weight of each channel, [channels] each: of the first layer where it
    writes the channel, of the last where it reads it, of depthwise layers in between their own. Two layers give one
    array of factors, sqrt(r1 / r2); three give two, from the cube root of r1 r2 r3; and so on. A channel in which some
    layer has no weights keeps the factor 1.

    >>> factor, = weight_factors([np.array([8.0, 1.0]), np.array([2.0, 1.0])])
    >>> factor.round(9).tolist()      # 8 / 2 = 2 * 2 = 4
    [2.0, 1.0]
    """
    stacked = np.stack([np.asarray(r, np.float64) for r in ranges])
    alive = (stacked > 0).all(axis=0)
    logs = np.log(np.where(alive, stacked, 1.0))
    common = logs.mean(axis=0)
    return [np.exp(logs[: k + 1].sum(axis=0) - (k + 1) * common) for k in range(len(ranges) - 1)]


def activation_factors(link: Link) -> np.ndarray:
    """Factors that share one channel's range between the activation and the weights that read it.

    A depthwise reader has a scale for each channel, so that nothing is lost when all activations get the same peak;
    another reader shares a scale over all that it reads: half of the way, sqrt(peak / weight). Channels without values
    or without readers keep the factor 1.

    >>> link = Link(writer=0, reader=1, peaks=np.array([8.0, 2.0]), written=np.ones(2), read=np.ones(2), shares=None)
    >>> activation_factors(link).tolist()
    [8.0, 2.0]
    """
    alive = link.peaks > 0
    if link.shares is None:
        return np.where(alive, link.peaks, 1.0)
    alive &= link.shares > 0
    return np.sqrt(np.where(alive, link.peaks, 1.0) / np.where(alive, link.shares, 1.0))


def settled(factors: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """The same factors times one number, so that the largest peak stays where it was; float32 powers of two.

    Powers of two change no digit of a weight. Factors lie within `STEEPEST` of each other. A channel without values
    gets the middle factor, 1 where none has any.

    >>> settled(np.array([8.0, 2.0, 1.0]), np.array([8.0, 2.0, 0.0])).tolist()
    [1.0, 0.25, 0.5]
    """
    alive = peaks > 0
    if not alive.any():
        return np.ones(len(factors), np.float32)
    logs = np.log2(factors)
    logs = np.where(alive, logs, np.median(logs[alive]))
    logs = np.rint(np.maximum(logs, logs.max() - np.log2(STEEPEST)))
    moved = np.log2(peaks[alive].max()) - (np.log2(peaks[alive]) - logs[alive]).max()
    return np.exp2(logs - np.rint(moved)).astype(np.float32)


def weight_peaks(weights: np.ndarray, axis: int) -> np.ndarray:
    """[channels]: the largest magnitude at each place of `axis`.

    >>> weight_peaks(np.array([[1.0, -3.0], [2.0, 0.0]]), axis=1).tolist()
    [2.0, 3.0]
    """
    return np.abs(weights).max(axis=tuple(a for a in range(weights.ndim) if a != axis % weights.ndim))


def weight_shares(weights: np.ndarray, outputs: int, inputs: int) -> np.ndarray:
    """[input channels]: the largest weight that reads a channel, in parts of its output channel's largest.

    `outputs` and `inputs` are axes of `weights`.

    >>> weight_shares(np.array([[1.0, 4.0], [2.0, 0.0]]), outputs=0, inputs=1).tolist()
    [1.0, 1.0]
    """
    tall = np.moveaxis(np.abs(weights), (outputs, inputs), (0, 1)).reshape(
        weights.shape[outputs], weights.shape[inputs], -1
    ).max(axis=2)
    rows = tall.max(axis=1, keepdims=True)
    return (tall / np.where(rows > 0, rows, 1.0)).max(axis=0)


def scaled(weights: np.ndarray, factors: np.ndarray, axis: int) -> np.ndarray:
    """Weights times one factor for each place of `axis`.

    >>> scaled(np.ones((2, 2), np.float32), np.array([1.0, 0.5], np.float32), axis=1).tolist()
    [[1.0, 0.5], [1.0, 0.5]]
    """
    return weights * factors.reshape([-1 if a == axis % weights.ndim else 1 for a in range(weights.ndim)])


def unscaled(reference: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    """`values` with each channel times the power of two that brings its size nearest to the reference's.

    Takes settled factors out again, so that tensors of a file with equalized channels can be compared with the float
    file's. Channels along `axis`; one that is all zero, or not finite, stays.

    >>> unscaled(np.array([[8.0, 1.0]]), np.array([[2.1, 1.1]]), axis=1).tolist()
    [[8.4, 1.1]]
    """
    others = tuple(a for a in range(reference.ndim) if a != axis % reference.ndim)
    ours, theirs = (np.sqrt(np.square(v, dtype=np.float64).sum(axis=others)) for v in (reference, values))
    known = (ours > 0) & (theirs > 0) & np.isfinite(ours) & np.isfinite(theirs)
    logs = np.rint(np.log2(np.where(known, ours, 1.0)) - np.log2(np.where(known, theirs, 1.0)))
    return scaled(values, np.exp2(logs), axis)


def by_weights(links: Sequence[Link]) -> list[np.ndarray]:
    """Settled factors of each link from the weights alone, along chains of depthwise layers."""
    after = _following(links)
    found: dict[int, np.ndarray] = {}
    for start in sorted(set(range(len(links))) - set(after.values())):
        chain = [start]
        while chain[-1] in after:
            chain.append(after[chain[-1]])
        ranges = [links[chain[0]].written, *(links[i].read for i in chain)]
        found |= dict(zip(chain, weight_factors(ranges), strict=True))
    return [settled(found[i], link.peaks) for i, link in enumerate(links)]


def _following(links: Sequence[Link]) -> dict[int, int]:
    """By place, the link that goes on behind the depthwise reader of a link, channel for channel."""
    by_writer = {link.writer: i for i, link in enumerate(links)}
    depthwise = {i: by_writer[link.reader] for i, link in enumerate(links)
                 if link.shares is None and link.reader in by_writer}
    return {i: j for i, j in depthwise.items() if len(links[i].peaks) == len(links[j].peaks)}


def by_activations(links: Sequence[Link]) -> list[np.ndarray]:
    """Settled factors of each link from what samples showed and the weights that read it."""
    return [settled(activation_factors(link), link.peaks) for link in links]


WAYS: Mapping[str, Callable[[Sequence[Link]], list[np.ndarray]]] = {
    "activations": by_activations,
    "weights": by_weights,
}


def worth_trying(links: Sequence[Link]) -> bool:
    """Whether any link's channels, or the weights that read them, leave more than `BALANCED` bits unused."""
    lost = (bits_lost(values) for link in links for values in (link.peaks, link.shares) if values is not None)
    return any(bits > BALANCED for bits in lost)
