"""One process of a cluster: a worker that holds the weights with the others, a coordinator, or a server.

Where a cluster with parameter servers is started by hand, its workers and servers each run
`python -m mlopt.frameworks.keras.fitting.member` with their TF_CONFIG, and `mlopt` itself runs as the chief.
"""

import json
import os
from contextlib import nullcontext
from pathlib import Path

from mlopt.frameworks.fitting import EpochFacts, FitResult
from mlopt.worker import emit

LOST = ("UnavailableError", "AbortedError", "DeadlineExceededError", "CancelledError")


class Relay:
    """Takes a tracker's place: the figures of an epoch go to the process that asked for the training."""

    notes: tuple[str, ...] = ()

    def epoch(self, facts: EpochFacts, step: int) -> None:
        emit(epoch_facts=facts, step=step)


def take_part(request: str, spec: dict[str, list[str]], kind: str, index: int, leads: bool) -> FitResult:
    """Train as this member, or serve until the cluster's other processes are done.

    `leads`: the weights go back to who asked, who waits for this member; all that step together have the same.
    """
    os.environ["TF_CONFIG"] = json.dumps({"cluster": spec, "task": {"type": kind, "index": index}})
    from mlopt.frameworks.keras.fitting import clustered

    if "ps" in spec and kind != "chief":
        clustered.serve()
    whole = clustered.engine(spec, kind, index)        # before anything else of TensorFlow: it starts the servers
    from mlopt.frameworks.keras.fitting import loop, remote
    from mlopt.training.cluster import MemberLost

    twin, task = remote.unpacked(Path(request))
    try:
        result = loop.train(twin, task, whole, lambda event: emit(**event), lambda task: nullcontext(Relay()))
    except Exception as err:
        if type(err).__name__ in LOST:
            raise MemberLost(f"training, {kind} {index}", f"{type(err).__name__}: {str(err)[:300]}") from err
        raise
    if leads:
        remote.write_result(Path(request), twin.keras_model)
    return result


if __name__ == "__main__":
    from mlopt.frameworks.keras.fitting import clustered

    clustered.serve()
