"""Weight clustering: the weights of a kernel share few values, trained together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import Hold
from mlopt.frameworks.protocol import TrainableModel
from mlopt.network import Weights
from mlopt.steps.cluster import Cluster
from mlopt.steps.cluster.shared_values import nearest, shared_values
from mlopt.steps.kernels import Kernel, kernels, left_alone, zipped_bytes
from mlopt.steps.protocol import Context, Done, Train
from mlopt.training.holding import combined, held

WORTH = 4        # weights for each shared value, at least: below, a table of values is no smaller than the weights


def cluster(settings: Cluster, context: Context, train: Train) -> Done:
    """Batch norms are folded into the kernels first: a file has them folded, and values shared before would part."""
    model = context.model.folded()
    before = model.weights()
    _check_earlier(context, before)
    chosen, left = choose(settings, model)
    ties = tie(settings, chosen, before, context.holds)
    holds = combined(context.holds, ties)
    model.set_weights({name: held(before[name], holds[name]) for name in holds})
    fits = (train(model, settings.epochs, "cluster", holds=holds),) if settings.epochs else ()
    model.set_weights({name: held(array, holds[name]) for name, array in model.weights().items() if name in holds})
    after = model.weights()
    error = {k.name: _relative_error(before[k.name], held(before[k.name], holds[k.name])) for k in chosen}
    facts: dict[str, Any] = {
        "values": max(_values(after[k.name], k, settings.channels) for k in chosen),
        "error_before_training": error, "before": zipped_bytes(before, chosen), "after": zipped_bytes(after, chosen),
    }
    notes = (*_notes(context.model, model, facts), *_grouped(settings), *left_alone(left))
    return Done(model=model, holds=holds, fits=fits, facts=facts, notes=notes)


def check(settings: Cluster, context: Context) -> None:
    """Raise `BadRequest` where no kernel is large enough."""
    choose(settings, context.model.folded())


def choose(settings: Cluster, model: TrainableModel) -> tuple[tuple[Kernel, ...], dict[str, str]]:
    """Kernels whose groups have enough weights to share values, and why others are left alone."""
    found, left = kernels(model.network)
    for kernel in found:
        size = kernel.size / kernel.shape[kernel.out_axis] * _channels(kernel, settings.channels)
        if size < WORTH * settings.values:
            left[kernel.name] = f"a group has {size:,.0f} weights, too few to share {settings.values} values"
    chosen = tuple(k for k in found if k.name not in left)
    if not chosen:
        raise BadRequest(f"`cluster` finds no kernel that is large enough: {'; '.join(left_alone(left))}")
    return chosen, left


def tie(
    settings: Cluster, chosen: tuple[Kernel, ...], weights: Weights, earlier: Mapping[str, Hold]
) -> dict[str, Hold]:
    """Which weights share a value, found by k-means in each group; weights that are held at zero are one value more."""
    found = {}
    for kernel in chosen:
        mask = earlier.get(kernel.name, Hold()).mask
        array = np.moveaxis(weights[kernel.name], kernel.out_axis, 0)
        kept = np.ones(array.shape, bool) if mask is None else np.moveaxis(mask, kernel.out_axis, 0)
        ties = np.zeros(array.shape, np.int32)
        width, used = _channels(kernel, settings.channels), 1          # 0: those at zero
        for start in range(0, len(array), width):
            part = slice(start, start + width)
            there = kept[part]
            if not there.any():
                continue
            values = shared_values(array[part][there], settings.values - (not there.all()))
            ties[part][there] = nearest(array[part][there], values) + used
            used += len(values)
        found[kernel.name] = Hold(ties=np.ascontiguousarray(np.moveaxis(ties, 0, kernel.out_axis)))
    return found


def _channels(kernel: Kernel, wanted: int) -> int:
    """Output channels in a group."""
    return min(wanted or kernel.shape[kernel.out_axis], kernel.shape[kernel.out_axis])


def _values(array: np.ndarray, kernel: Kernel, channels: int) -> int:
    """Different numbers in the group with most of them."""
    moved, width = np.moveaxis(array, kernel.out_axis, 0), _channels(kernel, channels)
    return max(len(np.unique(moved[start : start + width])) for start in range(0, len(moved), width))


def _relative_error(wanted: np.ndarray, found: np.ndarray) -> float:
    """Root mean square of the difference as a share of the kernel's own."""
    size = float(np.sqrt(np.mean(np.square(wanted, dtype=np.float64))))
    return float(np.sqrt(np.mean(np.square(wanted.astype(np.float64) - found)))) / size if size else 0.0


def _check_earlier(context: Context, folded: Weights) -> None:
    for name, hold in context.holds.items():
        if name not in folded or (hold.mask is not None and folded[name].shape != hold.mask.shape):
            raise BadRequest(f"an earlier step holds {name}, which is gone once batch norms are folded: cluster first")


def _grouped(settings: Cluster) -> tuple[str, ...]:
    if not settings.channels:
        return ()
    return (
        f"values are shared in groups of {settings.channels} channels, and Core ML palettes hold one table a tensor: "
        "they choose values anew; leave `channels` out to keep these",
    )


def _notes(model: TrainableModel, folded: TrainableModel, facts: Mapping[str, Any]) -> tuple[str, ...]:
    before, after = facts["before"]["zipped_int8_bytes"], facts["after"]["zipped_int8_bytes"]
    gone = len(model.network.nodes) - len(folded.network.nodes)
    norms = (f"{gone} batch norms were folded into kernels before values were shared",) if gone > 0 else ()
    return (
        *norms,
        f"shared values make the file smaller where it stores palettes (Core ML) or is compressed: these kernels at 8 "
        f"bits, zipped, {before:,} to {after:,} bytes; nothing gets faster by them",
    )
