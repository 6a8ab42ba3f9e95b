"""Samples changed at random in the graph, each time another way, decided by (seed, step) and a sample's place alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlopt.frameworks import augmentations
from mlopt.frameworks.keras.fitting.determinism import step_seed
from mlopt.frameworks.keras.quiet import tf
from mlopt.model import Signature

SHIFT = 8           # an eighth of an axis at most is shifted or masked
NOISE = 0.05        # deviation of the noise, as a share of the sample's own
MIXUP = 0.2         # of the Beta distribution that shares are drawn from (Zhang et al. 2018)


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Sample i is `share[i]` of itself and the rest of sample i - 1 of the batch."""

    share: Any              # float32 [B]

    def of(self, values: Any) -> Any:
        """Mixed as the inputs were; `values` [B, ...]."""
        share = tf.cast(tf.reshape(self.share, [-1] + [1] * (values.shape.rank - 1)), values.dtype)
        return share * values + (1 - share) * tf.roll(values, 1, axis=0)


class Augment:
    """What a task asks for, checked against the model's inputs when built: raises `BadRequest`."""

    def __init__(self, names: Sequence[str], signature: Signature, *, seed: int, batch: int) -> None:
        augmentations.check(names, signature)
        self.names, self.seed, self.batch = tuple(dict.fromkeys(names)), seed, batch
        self.signature = signature

    @property
    def moves(self) -> bool:
        """Whether samples move in space: what belongs to places must move with them."""
        return any(name in ("flip", "shift", "time-shift") for name in self.names)

    def __call__(
        self, inputs: Mapping[str, Any], places: Any, step: Any, replica: Any, replicas: int
    ) -> tuple[dict[str, Any], Any, Mix | None]:
        """Changed inputs [B, ...], changed `places`, and how samples were mixed.

        `places` are labels that lie over the inputs' own rows and columns, [B, H, W, ...]; None where there are none.
        What is drawn for a sample depends on its place in the whole batch of all replicas.
        """
        done = dict(inputs)
        for tag, name in enumerate(self.names):
            if name == "mixup":
                continue

            def draw(shape: Sequence[int], low: float, high: float, part: int, tag: int = tag) -> Any:
                seed = step_seed(self.seed, step, 0, tag=10 * tag + part)
                whole = tf.random.stateless_uniform([self.batch * replicas, *shape], seed, low, high)
                return whole[replica * self.batch : (replica + 1) * self.batch] if replicas > 1 else whole

            for spec in self.signature.inputs:
                if augmentations.fits(name, spec):
                    done[spec.name], places = _CHANGES[name](done[spec.name], places, draw)
        if "mixup" not in self.names:
            return done, places, None
        mix = Mix(share=self._shares(step, replica))
        return {key: mix.of(value) if value.dtype.is_floating else value for key, value in done.items()}, places, mix

    def _shares(self, step: Any, replica: Any) -> Any:
        """Beta(MIXUP, MIXUP) as a ratio of gamma variables; float32 [B]."""
        a, b = (
            tf.random.stateless_gamma([self.batch], step_seed(self.seed, step, replica, tag=900 + i), alpha=MIXUP)
            for i in range(2)
        )
        return tf.where(a + b > 0, tf.math.divide_no_nan(a, a + b), 1.0)


Draw = Callable[..., Any]       # (shape after the batch, low, high, which of this augmentation's draws)


def _gathered(values: Any, rows: Any, axis: int) -> Any:
    """[B, ...] with the indices `rows` [B, size] taken along `axis`, each sample its own."""
    if axis == 1:
        return tf.gather(values, rows, axis=1, batch_dims=1)
    order = list(range(values.shape.rank))
    order[1], order[axis] = order[axis], order[1]
    return tf.transpose(tf.gather(tf.transpose(values, order), rows, axis=1, batch_dims=1), order)


def _flip(values: Any, places: Any, draw: Draw) -> tuple[Any, Any]:
    """Left and right, one sample in two."""
    size = values.shape[2]
    there, back = tf.range(size)[None, :], tf.range(size - 1, -1, -1)[None, :]
    columns = tf.where(draw([], 0.0, 1.0, 0)[:, None] < 0.5, back, there)
    return _gathered(values, columns, 2), None if places is None else _gathered(places, columns, 2)


def _shift(values: Any, places: Any, draw: Draw) -> tuple[Any, Any]:
    """By up to an eighth of each side, the edge mirrored into what comes free."""
    for part, axis in enumerate((1, 2)):
        size = values.shape[axis]
        rows = _mirrored(_moved(size, draw, part), size)
        values = _gathered(values, rows, axis)
        places = None if places is None else _gathered(places, rows, axis)
    return values, places


def _moved(size: int, draw: Draw, part: int) -> Any:
    """Indices [B, size] of an axis shifted by whole steps, which may lie outside of it."""
    most = max(1, size // SHIFT) if size > 1 else 0
    steps = tf.cast(tf.floor(draw([], -float(most), most + 1.0, part)), tf.int32)
    return tf.range(size)[None, :] + tf.minimum(steps, most)[:, None]


def _mirrored(rows: Any, size: int) -> Any:
    """Indices outside of 0..size - 1 turned back, the edge itself not repeated."""
    rows = tf.abs(rows)
    return tf.where(rows > size - 1, 2 * (size - 1) - rows, rows)


def _noise(values: Any, places: Any, draw: Draw) -> tuple[Any, Any]:
    """Normal, its deviation a twentieth of the sample's own."""
    axes = list(range(1, values.shape.rank))
    u, v = draw(values.shape[1:], 1e-7, 1.0, 0), draw(values.shape[1:], 0.0, 1.0, 1)
    normal = tf.sqrt(-2.0 * tf.math.log(u)) * tf.cos(2.0 * 3.14159265358979 * v)      # Box and Muller 1958
    spread = tf.math.reduce_std(values, axis=axes, keepdims=True)
    return values + tf.cast(NOISE * spread * normal, values.dtype), places


def _time_shift(values: Any, places: Any, draw: Draw) -> tuple[Any, Any]:
    """By up to an eighth of the time, the first or last frame repeated."""
    rows = tf.clip_by_value(_moved(values.shape[1], draw, 0), 0, values.shape[1] - 1)
    return _gathered(values, rows, 1), None if places is None else _gathered(places, rows, 1)


def _masked(values: Any, draw: Draw, axis: int) -> Any:
    """One span of up to an eighth of the axis, at a random place, becomes the sample's mean (Park et al. 2019)."""
    size = values.shape[axis]
    width = tf.floor(draw([], 0.0, max(1, size // SHIFT) + 1.0, 0))
    start = tf.floor(draw([], 0.0, 1.0, 1) * (size - width + 1.0))
    at = tf.range(size, dtype=tf.float32)[None, :]
    inside = (at >= start[:, None]) & (at < (start + width)[:, None])
    shape = [-1] + [size if i == axis else 1 for i in range(1, values.shape.rank)]
    mean = tf.reduce_mean(values, axis=list(range(1, values.shape.rank)), keepdims=True)
    return tf.where(tf.reshape(inside, shape), mean, values)


def _time_mask(values: Any, places: Any, draw: Draw) -> tuple[Any, Any]:
    return _masked(values, draw, 1), places


def _frequency_mask(values: Any, places: Any, draw: Draw) -> tuple[Any, Any]:
    return _masked(values, draw, 2), places


_CHANGES: Mapping[str, Callable[[Any, Any, Draw], tuple[Any, Any]]] = {
    "flip": _flip, "shift": _shift, "noise": _noise,
    "time-shift": _time_shift, "time-mask": _time_mask, "frequency-mask": _frequency_mask,
}
