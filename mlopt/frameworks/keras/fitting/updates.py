"""The optimizer's arithmetic, and what stays true of weights after each step, in one pass over the variables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlopt.frameworks.fitting import Hold, Optimizer
from mlopt.frameworks.keras.quiet import tf

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7      # Adam's, as Kingma and Ba 2015 and Keras have them
MOMENTUM = 0.9
CHECKED = 2000                                  # good steps after which the loss scale is doubled


def numbers(rates: Sequence[float], first: int) -> np.ndarray:
    """[count, 3] float32 for steps from `first` on: learning rate, beta1 ** t and beta2 ** t with t = step + 1."""
    rows = [(rate, BETA_1 ** (step + 1), BETA_2 ** (step + 1)) for step, rate in enumerate(rates, first)]
    return np.array(rows, np.float32).reshape(len(rows), 3)


class Held:
    """What is held of one weight, as variables of the graph: their values may change without another trace."""

    def __init__(self, hold: Hold) -> None:
        self.shape = self.form(hold)
        mask, ids = _arrays(hold)
        self.mask = None if mask is None else _constant(mask)
        self.ids = None if ids is None else _constant(ids)

    @staticmethod
    def form(hold: Hold) -> tuple[bool, int]:
        """(masked, number of shared values): what the graph depends on."""
        return hold.mask is not None, 0 if hold.ties is None else len(np.unique(hold.ties))

    def assign(self, hold: Hold) -> None:
        for variable, array in zip((self.mask, self.ids), _arrays(hold), strict=True):
            if variable is not None:
                variable.assign(array)

    def tensors(self) -> tuple[Any, ...]:
        return tuple(v for v in (self.mask, self.ids) if v is not None)

    def kept(self, value: Any, *tensors: Any) -> Any:
        """`value` with what is held made true; `tensors` as `tensors` gives them, of this device.

        Values that share a number become the mean of those that are not masked.
        """
        masked, groups = self.shape
        mask = tensors[0] if masked else None
        if groups:
            ids = tf.reshape(tensors[-1], [-1])
            weights = tf.ones_like(value) if mask is None else mask
            sums = tf.math.unsorted_segment_sum(tf.reshape(value * weights, [-1]), ids, groups)
            counts = tf.math.unsorted_segment_sum(tf.reshape(weights, [-1]), ids, groups)
            value = tf.reshape(tf.gather(tf.math.divide_no_nan(sums, counts), ids), tf.shape(value))
        return value if mask is None else value * mask


def _constant(array: np.ndarray) -> Any:
    return tf.Variable(array, trainable=False)


def _arrays(hold: Hold) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The mask as float32 and the ties numbered from 0, int32."""
    mask = None if hold.mask is None else np.asarray(hold.mask, np.float32)
    if hold.ties is None:
        return mask, None
    _, ids = np.unique(hold.ties, return_inverse=True)
    return mask, ids.astype(np.int32).reshape(hold.ties.shape)


class Updates:
    """Moves variables: gradients in, and after the step what is held holds. All in the cross-replica context."""

    def __init__(
        self, optimizer: Optimizer, variables: Sequence[Any], decayed: Sequence[bool], strategy: Any, *, scaled: bool
    ) -> None:
        self.optimizer, self.strategy = optimizer, strategy
        self.variables, self.decayed = list(variables), list(decayed)
        self.slots = [tuple(self._slot(v) for _ in range(2 if optimizer.name == "adam" else 1)) for v in variables]
        # Half precision loses small gradients: the loss is multiplied, gradients divided (Micikevicius et al. 2018).
        self.scale = tf.Variable(2.0**15 if scaled else 1.0, trainable=False, dtype=tf.float32)
        self.good = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.scaled = scaled

    def _slot(self, variable: Any) -> Any:
        with self.strategy.extended.colocate_vars_with(variable):
            return tf.Variable(tf.zeros(variable.shape, variable.dtype), trainable=False)

    def state(self) -> dict[str, Any]:
        """Every variable of the optimizer, by a name of its own."""
        slots = {f"slot {i} {k}": slot for i, own in enumerate(self.slots) for k, slot in enumerate(own)}
        return slots | {"loss scale": self.scale, "good steps": self.good}

    def finished(self, gradients: Sequence[Any]) -> tuple[list[Any], Any]:
        """In the replica context: summed over replicas, unscaled, clipped; and 1.0, or 0.0 where one overflowed.

        Then all of them are 0.
        """
        replica = tf.distribute.get_replica_context()
        if self.strategy.num_replicas_in_sync > 1:
            gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))
        finite = tf.constant(1.0)
        if self.scaled:
            gradients = [g / tf.cast(self.scale, g.dtype) for g in gradients]
            sound = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
            gradients, finite = [tf.where(sound, g, tf.zeros_like(g)) for g in gradients], tf.cast(sound, tf.float32)
        if self.optimizer.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.optimizer.clip_norm)
        return list(gradients), finite

    def apply(self, gradients: Sequence[Any], finite: Any, row: Any, holds: Mapping[int, Held]) -> None:
        """One step with a row of `numbers`, which moves nothing where `finite` is 0; `holds` by index of variable."""
        if self.scaled:
            row = row * tf.stack([finite, 1.0, 1.0])
            self._rescale(finite > 0.5)
        for i, (variable, gradient, slots) in enumerate(zip(self.variables, gradients, self.slots, strict=True)):
            hold = holds.get(i)
            tensors = hold.tensors() if hold else ()

            def update(var: Any, grad: Any, *rest: Any, decayed: bool = self.decayed[i], hold: Held | None = hold,
                       count: int = len(slots)) -> None:
                own, held = rest[:count], rest[count:]
                if decayed:
                    var.assign_sub(row[0] * self.optimizer.weight_decay * var)
                self._move(var, grad, own, row)
                if hold is not None:
                    var.assign(hold.kept(tf.convert_to_tensor(var), *held))

            self.strategy.extended.update(variable, update, args=(gradient, *slots, *tensors), group=False)

    def _move(self, var: Any, grad: Any, slots: Sequence[Any], row: Any) -> None:
        handles = [slot.handle for slot in slots]
        if self.optimizer.name == "adam":
            tf.raw_ops.ResourceApplyAdam(
                var=var.handle, m=handles[0], v=handles[1], lr=row[0], beta1_power=row[1], beta2_power=row[2],
                beta1=BETA_1, beta2=BETA_2, epsilon=EPSILON, grad=grad,
            )
        else:
            tf.raw_ops.ResourceApplyMomentum(
                var=var.handle, accum=handles[0], lr=row[0], momentum=MOMENTUM, grad=grad, use_nesterov=True,
            )

    def _rescale(self, finite: Any) -> None:
        """The loss scale is halved where a gradient overflowed, and doubled after many steps in which none did."""
        good = tf.where(finite, self.good + 1, tf.zeros_like(self.good))
        grown = tf.where(good >= CHECKED, self.scale * 2.0, self.scale)
        self.scale.assign(tf.clip_by_value(tf.where(finite, grown, self.scale / 2.0), 1.0, 2.0**24))
        self.good.assign(tf.where(good >= CHECKED, tf.zeros_like(good), good))
