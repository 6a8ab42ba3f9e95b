"""Permission bits that count for root as well, so that tests of them run as any user."""

import os
from collections.abc import Sequence

_NOBODY = 65534


def heeding_permissions(command: Sequence[object]) -> list[str]:
    """`command`, started without the two capabilities by which root passes over a file's bits."""
    words = [str(word) for word in command]
    return words if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]


def become_ordinary() -> None:
    """From now on this process is a user's who owns nothing, where it was root's; what is imported stays usable."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
