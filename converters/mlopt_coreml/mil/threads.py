"""Matrix products on one thread.

OpenBLAS spreads even small products over all cores, and its threads spin while they wait: beside another busy process
the evaluator was measured up to twenty times slower than on one thread. Its many small products gain little from
threads; batches run side by side instead.
"""

import ctypes
from pathlib import Path

import numpy as np

_SETTERS = ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads", "openblas_set_num_threads")


def one_thread_per_product() -> bool:
    """Tell the OpenBLAS inside numpy's wheel to use one thread in this process; False where there is none."""
    found = False
    for library in sorted((Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*.so*")):
        loaded = ctypes.CDLL(str(library))
        for name in _SETTERS:
            if hasattr(loaded, name):
                getattr(loaded, name)(1)
                found = True
                break
    return found
