"""One process of a cluster: a worker that holds the weights with the others, a coordinator, or a server.

Where a cluster with parameter servers is started by hand, its workers and servers each run
`python -m mlopt.frameworks.keras.fitting.member` with their TF_CONFIG, and `mlopt` itself runs as the chief.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlopt.errors import MemberLost
from mlopt.frameworks.fitting import Place

if TYPE_CHECKING:
    from mlopt.frameworks.keras.fitting.remote import Twin

LOST = ("UnavailableError", "AbortedError", "DeadlineExceededError", "CancelledError")


@contextmanager
def joined(folder: Path, place: Place) -> "Iterator[Twin]":
    """See `mlopt.frameworks.door.Framework.member`; a worker beside servers, and a server, serve here until the end."""
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": place.spec, "task": {"type": place.kind, "index": place.index}}
    )
    from mlopt.frameworks.keras.fitting import clustered

    if "ps" in place.spec and place.kind != "chief":
        clustered.serve()
    whole = clustered.engine(place)         # before anything else of TensorFlow: it starts the servers
    from mlopt.frameworks.keras.fitting.remote import received

    try:
        yield received(folder, whole)
    except Exception as err:
        if type(err).__name__ in LOST:
            task = f"training, {place.kind} {place.index}"
            raise MemberLost(task, f"{type(err).__name__}: {str(err)[:300]}") from err
        raise


if __name__ == "__main__":
    from mlopt.frameworks.keras.fitting import clustered

    clustered.serve()
