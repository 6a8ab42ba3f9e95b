"""Which known name was meant by one that is not known."""

import difflib
from collections.abc import Iterable

_CUTOFF = 0.5        # of difflib's ratio: "prun" has 0.89 of "prune", "batch" 0.44 of "echo"


def did_you_mean(name: str, known: Iterable[str], *, listed: bool = False, mark: str = "`") -> str:
    """A sentence with a space before it, to put after what was found; "" where nothing is near.

    `listed` names all that are known instead, where nothing is near. `mark` stands around the name.

    >>> did_you_mean("prun", ["prune", "slim"])
    ' Did you mean `prune`?'
    >>> did_you_mean("batch", ["echo", "seed"], listed=True)
    ' There are echo, seed.'
    """
    known = tuple(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=_CUTOFF)
    if near:
        return f" Did you mean {mark}{near[0]}{mark}?"
    return f" There are {', '.join(known)}." if listed else ""
