"""Many steps in one call of the graph: what is computed in every replica, and how its gradients move the weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlopt.data.samples import Samples
from mlopt.frameworks.keras.fitting import losses as numerics
from mlopt.frameworks.keras.fitting.augment import Augment
from mlopt.frameworks.keras.fitting.determinism import Chance
from mlopt.frameworks.keras.fitting.objective import Objective
from mlopt.frameworks.keras.fitting.seen import seen
from mlopt.frameworks.keras.fitting.student import Student
from mlopt.frameworks.keras.fitting.updates import Held, Updates
from mlopt.frameworks.keras.quiet import tf

Tree = dict[str, Any]           # tensors: "inputs" and "teacher" by name, "labels" where a loss reads them


@dataclass(frozen=True, kw_only=True)
class Step:
    """All that one step needs, in the graph."""

    student: Student
    objective: Objective
    augment: Augment
    chance: Chance
    samples: Samples
    updates: Updates
    strategy: Any
    batch: int                          # of one replica
    first: int                          # number of this process's first replica
    here: int                           # replicas of this process
    learned: tuple[Any, ...]            # what gradients are taken for: the student's trained weights, then projections
    places: bool                        # labels lie over the input's rows and columns

    @property
    def replicas(self) -> int:
        return int(self.strategy.num_replicas_in_sync)

    def in_replica(self, tree: Tree, step: Any) -> tuple[list[Any], Any, Any]:
        """Finished gradients, whether they are finite, and this replica's share of each loss, "total" last."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        self.chance.begin(step, replica)
        inputs = {name: seen(self.samples, name, stored) for name, stored in tree["inputs"].items()}
        labels = tree.get("labels")
        inputs, moved, mix = self.augment(inputs, labels if self.places else None, step, replica, self.replicas)
        labels = moved if self.places else labels
        said = self.objective.said(inputs, tree["teacher"], mix)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.learned)
            outputs, nodes = self.student.call(inputs, training=True)
            found = self.objective(outputs, nodes, labels, inputs, said, mix)
            shares = [(part, w, numerics.average(each, self.batch * self.replicas)) for part, w, each in found]
            total = tf.add_n([weight * share for _, weight, share in shares])
            target = total * self.updates.scale if self.updates.scaled else total
        gradients = tape.gradient(target, self.learned, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients, finite = self.updates.finished([tf.convert_to_tensor(gradient) for gradient in gradients])
        *names, _ = self.objective.parts
        parts = [tf.add_n([share for part, _, share in shares if part == name]) for name in names]
        return gradients, finite, tf.stack([*parts, total])


def several(step: Step, holds: Mapping[int, Held], like: Tree) -> Callable[[Tree, Any, Any], Any]:
    """A graph function of (samples [count, batch, ...], rows of `updates.numbers`, first step): parts [count, parts].

    `holds` by index in the student's variables. The samples are like those of `like`; how many steps it takes is open,
    so that one trace serves all.
    """
    student = step.student
    at = {index: place for place, index in enumerate(student.trained)}
    while_learning = {at[index]: held for index, held in holds.items() if index in at}
    beside = {index: held for index, held in holds.items() if index not in at}

    def run(tree: Tree, numbers: Any, first: Any) -> Any:
        count = tf.shape(numbers)[0]
        kept = [tf.identity(student.variables[i]) for i in student.frozen]

        def body(i: Any, parts: Any) -> tuple[Any, Any]:
            def one(tree: Tree) -> Any:
                return step.in_replica(_own_rows(step, tree, i), first + tf.cast(i, tf.int64))

            gradients, finite, shares = step.strategy.run(one, args=(tree,))
            found = step.strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)
            finite = step.strategy.reduce(tf.distribute.ReduceOp.MEAN, finite, axis=None)
            step.updates.apply(gradients, finite, numbers[i], while_learning)
            for index, value in zip(student.frozen, kept, strict=True):
                step.strategy.extended.update(student.variables[index], _put, args=(value,), group=False)
            for index, held in beside.items():
                hold(step.strategy, student.variables[index], held)
            return i + 1, parts.write(i, found)

        parts = tf.TensorArray(tf.float32, size=count, element_shape=[len(step.objective.parts)])
        _, parts = tf.while_loop(
            lambda i, _: i < count, body, (tf.constant(0), parts), parallel_iterations=1
        )
        return parts.stack()

    def any_count(tensor: Any) -> Any:
        return tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)

    return tf.function(run, autograph=False, input_signature=[
        tf.nest.map_structure(any_count, like), tf.TensorSpec((None, 3), tf.float32), tf.TensorSpec((), tf.int64),
    ])


def _own_rows(step: Step, tree: Tree, i: Any) -> Tree:
    """Of samples [count, rows of this process, ...] those of the i-th step and the replica that asks."""
    if step.here == 1:
        return tf.nest.map_structure(lambda array: array[i], tree)
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group - step.first
    with tf.device("CPU:0"):        # there they are: a device gets its own rows alone
        return tf.nest.map_structure(
            lambda array: tf.ensure_shape(
                array[i, replica * step.batch : (replica + 1) * step.batch], (step.batch, *array.shape[2:])
            ), tree,
        )


def hold(strategy: Any, variable: Any, held: Held) -> None:
    """Make true at once what is held of a variable."""

    def now(var: Any, *tensors: Any) -> None:
        var.assign(held.kept(tf.convert_to_tensor(var), *tensors))

    strategy.extended.update(variable, now, args=held.tensors(), group=False)


def _put(variable: Any, value: Any) -> None:
    variable.assign(value)
