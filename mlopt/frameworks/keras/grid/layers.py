"""Layers that round: their kernels to whole steps of a channel, activations to 256 steps of a tensor.

Rounding has no slope to learn by: the gradient goes straight through it, and is zero where a value is cut off at the
end of its range (Bengio et al. 2013; Jacob et al. 2018).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from mlopt.frameworks.keras.quiet import tf, tf_keras
from mlopt.ranges import fitted_scales

TINY = 1e-12        # a range or step below this holds no signal


class Rounding(tf_keras.layers.Layer):
    """Rounds a tensor to the grid of `low` to `high`, as `tf.quantization.fake_quant_with_min_max_vars` has it.

    Zero is exact: the range is moved by less than a step, as kernels move it. Where the range is learned, its ends are
    trained as shares of its first width, with gradients scaled by 1 / sqrt(values * 255) (Esser et al. 2020); an end
    that is zero stays zero.
    """

    def __init__(self, low: float, high: float, learned: bool = False, **config: Any) -> None:
        super().__init__(**config)
        self.start, self.learned = (low, high), learned
        self.width = high - low

    def get_config(self) -> dict[str, Any]:
        low, high = self.start
        return {**super().get_config(), "low": low, "high": high, "learned": self.learned}

    def build(self, shape: Any) -> None:
        low, high = self.start
        self.low = self._end("low", low)
        self.high = self._end("high", high)
        super().build(shape)

    def _end(self, name: str, value: float) -> Any:
        return self.add_weight(
            name=name, shape=(), initializer=tf_keras.initializers.Constant(value / self.width),
            trainable=self.learned and value != 0.0,
        )

    def range(self) -> tuple[Any, Any]:
        """(low, high) as they stand, low at most 0, high at least 0, further than nothing apart."""
        low, high = tf.minimum(self.low * self.width, 0.0), tf.maximum(self.high * self.width, 0.0)
        return low, tf.maximum(high, low + TINY)

    def call(self, inputs: Any, pooled: bool = False) -> Any:
        """`pooled`: means of a few values of this very grid, often just between two steps (see `_away_from_middle`)."""
        low, high = self.range()
        if pooled:
            inputs = _away_from_middle(inputs, low, high)
        if self.learned:
            values = 1.0
            for size in inputs.shape[1:]:
                values *= size or 1
            low, high = (_gradient_scaled(end, (255.0 * values) ** -0.5) for end in (low, high))
        if tf.config.get_visible_devices("GPU"):
            return rounded_with_plain_gradient(inputs, low, high)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high)


@tf.custom_gradient
def rounded_with_plain_gradient(values: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """`tf.quantization.fake_quant_with_min_max_vars`, its gradient in operations of TensorFlow that are deterministic.

    TensorFlow's own gradient refuses to run on a GPU where determinism is asked for; on a CPU it is four times as fast.
    """
    def gradient(after: Any) -> tuple[Any, Any, Any]:
        step = (high - low) / 255.0
        least = -tf.round(-low / step) * step
        below, above, nothing = values < least, values > least + 255.0 * step, tf.zeros_like(after)
        return (
            tf.where(below | above, nothing, after),
            tf.reduce_sum(tf.where(below, after, nothing)),
            tf.reduce_sum(tf.where(above, after, nothing)),
        )

    return tf.quantization.fake_quant_with_min_max_vars(values, low, high), gradient


def nudged(low: float, high: float) -> tuple[float, float]:
    """The ends of the grid that `Rounding` rounds to, for a range that holds zero: zero is one of its 256 steps.

    >>> nudged(-0.4, 254.6)
    (0.0, 255.0)
    """
    scale = (high - low) / 255
    zero = round(-low / scale)
    return -zero * scale, (255 - zero) * scale


@cache
def on_grid(base: type) -> type:
    """The layer class `base`, with a kernel that is rounded."""
    return type(f"OnGrid{base.__name__}", (OnGrid, base), {})


class OnGrid:
    """Goes before a layer class: its kernel is rounded whenever the layer is called, symmetric, a step a channel.

    Steps reach the largest weight. Where they are `learnt`, they begin with those of the least squared error and are
    trained (Esser et al. 2020), as a stretch of those first steps. `kept` are the axes of the kernel that have steps of
    their own; none: one step for the whole kernel.

    What is trained is the kernel divided by `kernel_sizes`, a constant for each channel: a folded kernel may be of any
    size (small beside inputs up to 255), and a learning rate suits one size. See `sizes`.
    """

    def __init__(self, *, bits: int, learnt: bool, kept: tuple[int, ...], **config: Any) -> None:
        super().__init__(**config)
        self.bits, self.learnt, self.kept = bits, learnt, tuple(kept)

    def get_config(self) -> dict[str, Any]:
        own = {"bits": self.bits, "learnt": self.learnt, "kept": self.kept}
        return {**super().get_config(), **own}          # type: ignore[misc]

    def build(self, shape: Any) -> None:
        super().build(shape)                            # type: ignore[misc]
        self.kernel_sizes = self._each_channel("kernel_sizes")
        if self.learnt:
            self.first_steps = self._each_channel("first_steps")
            self.stretch = self._each_channel("stretch", trainable=True)

    def _each_channel(self, name: str, *, trainable: bool = False) -> Any:
        """Ones, 1 long along the axes that are not kept."""
        shape = [size if axis in self.kept else 1 for axis, size in enumerate(getattr(self, self._kernel_name).shape)]
        return self.add_weight(                         # type: ignore[attr-defined]
            name=name, shape=shape, initializer="ones", trainable=trainable
        )

    def call(self, inputs: Any) -> Any:
        name, trained = self._kernel_name, getattr(self, self._kernel_name)
        object.__setattr__(self, name, self.rounded_kernel())      # past Keras, which would take it for a new weight
        try:
            return super().call(inputs)                 # type: ignore[misc]
        finally:
            object.__setattr__(self, name, trained)

    def set_kernel(self, kernel: np.ndarray) -> None:
        """Take a kernel as the network has it; steps begin anew."""
        found = sizes(kernel, self.kept)
        self.kernel_sizes.assign(found)
        getattr(self, self._kernel_name).assign(kernel / found)
        if self.learnt:
            self.first_steps.assign(fitted_scales(kernel, self.kept, self.most))
            self.stretch.assign(np.ones(self.stretch.shape))

    @property
    def most(self) -> int:
        """The largest whole number of the kernel."""
        return int(2 ** (self.bits - 1) - 1)

    def real_kernel(self) -> Any:
        """The kernel as the network has it, not rounded."""
        return tf.convert_to_tensor(getattr(self, self._kernel_name)) * self.kernel_sizes

    def steps(self) -> Any:
        """One step for each channel, 1 long along the axes that are not kept."""
        if self.learnt:
            return tf.maximum(tf.abs(self.stretch), TINY) * self.first_steps
        others = [axis for axis in range(len(self.kernel_sizes.shape)) if axis not in self.kept]
        peak = tf.reduce_max(tf.abs(tf.stop_gradient(self.real_kernel())), axis=others, keepdims=True)
        return tf.where(peak > 0, peak / self.most, tf.ones_like(peak))

    def rounded_kernel(self) -> Any:
        """The kernel on its grid, with the gradient of the kernel itself where it is not cut off, and of its steps."""
        kernel, steps = self.real_kernel(), self.steps()
        whole = kernel / steps
        if self.learnt:
            values = float(np.prod(kernel.shape) / np.prod(self.stretch.shape))
            steps = _gradient_scaled(steps, (values * self.most) ** -0.5)
            whole = tf.clip_by_value(kernel / steps, -self.most, self.most)
        return (whole + tf.stop_gradient(tf.round(whole) - whole)) * steps

    @property
    def _kernel_name(self) -> str:
        return "depthwise_kernel" if hasattr(self, "depthwise_kernel") else "kernel"


def sizes(kernel: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """What each channel of a kernel is larger than kernels are at the start of a training, float32, 1 long elsewhere.

    They start with a root mean square of sqrt(2 / values that make one output) (He et al. 2015), for which learning
    rates are known. Channels that are nearly nothing beside the largest count as a thousandth of it.

    >>> sizes(np.full((2, 1), 3.0), [1]).tolist()       # one channel that adds two values: starts at 1
    [[3.0]]
    """
    others = tuple(axis for axis in range(kernel.ndim) if axis not in kept)
    values = int(np.prod([kernel.shape[axis] for axis in others]))
    found = np.sqrt(np.square(kernel, dtype=np.float64).mean(axis=others, keepdims=True) * values / 2)
    largest = found.max()
    return np.maximum(found, largest / 1000 if largest > 0 else 1.0).astype(np.float32)


def _away_from_middle(values: Any, low: Any, high: Any) -> Any:
    """Values moved by a thousandth of a step, away from the 128th.

    The kernel of average pooling rounds what lies between two stored numbers (-128 to 127) away from zero, others up.
    """
    step = tf.stop_gradient((high - low) / 255.0)
    middle = (128.0 - tf.round(-low / step)) * step
    return values + tf.stop_gradient(tf.sign(values - middle) * step * 1e-3)


def _gradient_scaled(value: Any, factor: float) -> Any:
    return value * factor + tf.stop_gradient(value * (1.0 - factor))
