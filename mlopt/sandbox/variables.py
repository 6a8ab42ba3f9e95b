"""Which variables of the environment a held worker gets: those that Python, its libraries and devices work by.

A process can always read its own. Keys and passwords often stand in the rest, and what a worker reads can end up in the
files that it makes.
"""

from collections.abc import Mapping

_NAMES = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TERM", "COLUMNS", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "SOURCE_DATE_EPOCH", "DO_NOT_TRACK",
})  # fmt: skip
_PREFIXES = (
    "LC_", "PYTHON", "MLOPT_", "TF_", "XLA_", "KERAS_", "ORT_", "TPU_", "CUDA_", "NVIDIA_", "NCCL_", "ROCM_", "HIP_",
    "HSA_", "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "MALLOC_", "XDG_",
)  # fmt: skip


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """Of an environment, what a held worker gets.

    >>> kept({"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x", "LC_ALL": "C"})
    {'PATH': '/bin', 'LC_ALL': 'C'}
    """
    return {name: value for name, value in environment.items() if name in _NAMES or name.startswith(_PREFIXES)}
