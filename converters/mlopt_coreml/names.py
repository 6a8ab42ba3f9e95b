"""Names of inputs and outputs inside a package. Core ML wants identifiers: letters, digits and underscores."""

import re
from collections.abc import Sequence

_FORBIDDEN = re.compile(r"\W", re.ASCII)


def port_names(names: Sequence[str]) -> dict[str, str]:
    """The package's name for each of the source's names: the same wherever Core ML allows it.

    >>> port_names(["image", "dense/Softmax:0", "2nd"])
    {'image': 'image', 'dense/Softmax:0': 'dense_Softmax_0', '2nd': '_2nd'}
    >>> port_names(["a-b", "a/b"])
    {'a-b': 'a_b', 'a/b': 'a_b_2'}
    """
    taken: set[str] = set()
    result = {}
    for name in names:
        plain = _FORBIDDEN.sub("_", name)
        if not plain or plain[0].isdigit():
            plain = "_" + plain
        unique, count = plain, 1
        while unique in taken:
            count += 1
            unique = f"{plain}_{count}"
        taken.add(unique)
        result[name] = unique
    return result
