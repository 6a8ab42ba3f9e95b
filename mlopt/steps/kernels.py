"""Kernels, as steps on single weights see them: which there are, which are left alone and why, their bytes."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlopt.network import Kind, Network, Weights


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A weight array of a convolution or dense node."""

    name: str
    shape: tuple[int, ...]
    out_axis: int
    in_axis: int

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


def kernels(network: Network) -> tuple[tuple[Kernel, ...], dict[str, str]]:
    """Kernels in which each output channel sees all inputs, in the network's order; and by name why others are not."""
    found: dict[str, Kernel] = {}
    left: dict[str, str] = {}
    for node in network.nodes:
        for weight in node.weights:
            if weight.role != "kernel" or weight.name in found:
                continue
            if not weight.trainable:
                left[weight.name] = "it is not trainable"
            elif node.kind is Kind.DEPTHWISE:
                left[weight.name] = "depthwise kernels are small and every weight of them counts"
            elif node.kind is not Kind.CONVOLUTION or weight.out_axis is None or weight.in_axis is None:
                left[weight.name] = f"{node.name} ({node.op}) uses it in a way that is not known"
            else:
                rank = len(weight.shape)
                found[weight.name] = Kernel(
                    name=weight.name, shape=weight.shape, out_axis=weight.out_axis % rank, in_axis=weight.in_axis % rank
                )
    return tuple(found.values()), left


def rounded(kernel: np.ndarray, out_axis: int) -> np.ndarray:
    """int8 with one step a channel, as files at 8 bits store it: symmetric, the largest of a channel at 127.

    >>> rounded(np.array([[0.5, -2.0], [1.0, 1.0]]), 1).tolist()
    [[64, -127], [127, 64]]
    """
    others = tuple(i for i in range(kernel.ndim) if i != out_axis)
    largest = np.abs(kernel).max(axis=others, keepdims=True)
    return np.asarray(np.rint(kernel / np.where(largest > 0, largest, 1) * 127).astype(np.int8))


def zipped_bytes(weights: Weights, chosen: tuple[Kernel, ...]) -> dict[str, int]:
    """Bytes of these kernels after deflate at level 9, as float32 and at 8 bits, each kernel alone."""
    arrays = [(np.asarray(weights[k.name], np.float32), k.out_axis) for k in chosen]
    return {
        "zipped_float_bytes": sum(len(zlib.compress(array.tobytes(), 9)) for array, _ in arrays),
        "zipped_int8_bytes": sum(len(zlib.compress(rounded(array, axis).tobytes(), 9)) for array, axis in arrays),
    }


def left_alone(reasons: Mapping[str, str]) -> tuple[str, ...]:
    """A note for each reason, with the kernels that it keeps as they are."""
    grouped: dict[str, list[str]] = {}
    for name, why in reasons.items():
        grouped.setdefault(why, []).append(name)
    return tuple(f"left as they are: {', '.join(names)}: {why}" for why, names in grouped.items())
