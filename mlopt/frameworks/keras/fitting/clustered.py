"""Engines of several processes: workers that step together, and workers that step on their own around servers."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from mlopt.frameworks.fitting import Place
from mlopt.frameworks.keras.fitting.strategies import Engine
from mlopt.frameworks.keras.quiet import tf
from mlopt.frameworks.stepper import Steps, Told

STEPS = 8           # in a call of workers that step together: all must agree on it, so it is no matter of their clocks
AHEAD = 2           # calls that wait for each worker beside servers


@dataclass(frozen=True, kw_only=True)
class Together(Engine):
    """Workers with equal weights; gradients are summed over all of them after each step."""

    steps_per_call: int = STEPS

    def decided(self, flag: bool) -> bool:
        """What the first worker says; every worker asks at the same time."""
        return bool(self._told(int(flag))[0])

    def all_same(self, number: int) -> bool:
        told = self._told(number)
        return bool((told == told[0]).all())

    def _told(self, number: int) -> np.ndarray:
        """int64 [workers]: each one's number."""

        @tf.function(autograph=False)
        def summed(mine: Any) -> Any:
            def one() -> Any:
                replica = tf.distribute.get_replica_context()
                place = tf.one_hot(replica.replica_id_in_sync_group, self.replicas, dtype=tf.int64)
                return replica.all_reduce(tf.distribute.ReduceOp.SUM, place * mine)

            return self.strategy.run(one)

        told = self._functions.setdefault("summed", summed)(tf.constant(number, tf.int64))
        return np.asarray(self.strategy.experimental_local_results(told)[0].numpy())


@dataclass(frozen=True, kw_only=True)
class Around(Engine):
    """Workers that fetch weights from servers and send gradients there, each in its own time."""

    coordinator: Any
    workers: int

    @property
    def working(self) -> int:
        return self.workers

    def caller(self) -> "Asynchronous":
        return Asynchronous(self.coordinator, AHEAD * self.workers)


class Asynchronous:
    """Calls that run on any worker; their losses come back in the order in which they were made."""

    def __init__(self, coordinator: Any, most: int) -> None:
        self.coordinator, self.most = coordinator, most
        self._pending: deque[tuple[Steps, Any]] = deque()

    def call(self, function: Any, steps: Steps, arguments: tuple[Any, ...]) -> Iterator[Told]:
        self._pending.append((steps, self.coordinator.schedule(function, args=arguments)))
        while len(self._pending) > self.most:
            yield self._first()

    def drained(self) -> Iterator[Told]:
        while self._pending:
            yield self._first()
        self.coordinator.join()

    def _first(self) -> Told:
        steps, losses = self._pending.popleft()
        return steps, np.asarray(losses.fetch())


def engine(here: Place) -> Engine:
    """Of this member of the cluster, which TF_CONFIG describes."""
    spec = here.spec
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "ps" in spec:
        strategy = tf.distribute.experimental.ParameterServerStrategy(resolver)
        return Around(
            strategy=strategy, coordinator=tf.distribute.coordinator.ClusterCoordinator(strategy),
            workers=len(spec["worker"]),
            notes=("workers step on their own around parameter servers: two runs do not agree bit for bit",),
        )
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.RING
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    order = [(name, i) for name in ("chief", "worker") for i in range(len(spec.get(name, ())))]
    each = strategy.num_replicas_in_sync // len(order)
    place = order.index((here.kind, here.index))
    return Together(strategy=strategy, first=place * each, here=each, writes=place == 0)


def serve() -> NoReturn:
    """Be a worker or a server of TF_CONFIG's cluster until this process is ended."""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    server = tf.distribute.Server(
        resolver.cluster_spec(), job_name=resolver.task_type, task_index=resolver.task_id, protocol="grpc"
    )
    server.join()
    raise AssertionError("a server ended by itself")
