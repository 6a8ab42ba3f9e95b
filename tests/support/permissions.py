"""Permission bits that count for root as well, so that tests of them run as any user."""

import os
from collections.abc import Sequence


def heeding_permissions(command: Sequence[object]) -> list[str]:
    """`command`, started without the two capabilities by which root passes over a file's bits."""
    words = [str(word) for word in command]
    return words if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]
