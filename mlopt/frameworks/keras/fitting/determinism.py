"""Two runs on one machine agree bit for bit: deterministic kernels, and layers' own chance by (seed, step)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlopt.frameworks.keras import private
from mlopt.frameworks.keras.quiet import tf


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Kernels add in the same order each time; as it was before on leaving.

    An operation of the model's own that draws without a seed draws by `seed`: without one TensorFlow refuses it here.
    """
    before = private.is_op_determinism_enabled()
    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(seed)
    try:
        yield
    finally:
        if not before:
            private.disable_op_determinism()


def step_seed(seed: int, step: Any, replica: Any, tag: int) -> Any:
    """int32 [2] for stateless random operations: another one for each of (seed, step, replica, tag)."""
    base = tf.stack([tf.constant(seed % (1 << 31), tf.int32), tf.cast(step, tf.int32)])
    return tf.random.experimental.stateless_fold_in(tf.random.experimental.stateless_fold_in(base, tag), replica)


class Chance:
    """What dropout and its kin draw while a model trains: a function of (seed, step, replica), so that a training that
    is continued draws what the undisturbed one does. Keras's own generators keep a state that no checkpoint holds.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._traced = threading.local()        # replicas are traced in threads of their own

    def begin(self, step: Any, replica: Any) -> None:
        """From here on, for the graph being traced, draws belong to this step."""
        self._traced.now, self._traced.drawn = (step, replica), 0

    def draw(self) -> Any:
        """The next seed of this step, int32 [2]."""
        assert hasattr(self._traced, "now"), "a layer drew before the step began"
        self._traced.drawn += 1
        step, replica = self._traced.now
        return step_seed(self.seed, step, replica, tag=1000 + self._traced.drawn)

    @contextmanager
    def installed(self, model: Any) -> Iterator[None]:
        """In every layer of `model` that has a generator; its own are put back on leaving."""
        kept = [
            (layer, private.random_generator(layer)) for layer in model.submodules
            if isinstance(private.random_generator(layer), private.RandomGenerator)
        ]
        for layer, _ in kept:
            private.set_random_generator(layer, _StepGenerator(self))
        try:
            yield
        finally:
            for layer, generator in kept:
                private.set_random_generator(layer, generator)


class _StepGenerator(private.RandomGenerator):
    """A Keras generator whose every draw is stateless."""

    def __init__(self, chance: Chance) -> None:
        super().__init__(seed=0, rng_type=private.RandomGenerator.RNG_STATELESS)
        self._chance = chance

    def make_seed_for_stateless_op(self) -> Any:
        return self._chance.draw()
