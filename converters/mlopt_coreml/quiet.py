"""Import coremltools without the messages that are known to mean nothing here.

coremltools warns on import that its macOS libraries are absent on Linux (nothing here predicts with them) and that
TensorFlow and scikit-learn are newer than those it was tested with (the golden tests of this converter are the test).
Anything else that it logs is passed on.
"""

import logging
import os
import re
import warnings

_NOISE = re.compile(
    r"Failed to load _ML\w+Proxy"                                   # the runtime of macOS
    r"|(scikit-learn|TensorFlow|Torch|XGBoost|LIBSVM) version \S+ (has not been tested|is not supported)"
    r"|Torch is not installed|Fail to import"
    r"|Tuple detected at graph output"                              # says that multiple outputs are flattened, as asked
    r"|Output var .* name will be changed|Saving value type of (int64|float64) into a builtin type of"
)

os.environ.setdefault("TQDM_DISABLE", "1")   # progress bars of the conversion passes


class _NotNoise(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _NOISE.search(record.getMessage())


logging.getLogger("coremltools").addFilter(_NotNoise())

with warnings.catch_warnings():
    # coremltools' own code: invalid escapes in its docstrings, and old numpy spellings
    warnings.simplefilter("ignore", SyntaxWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    import coremltools as ct

__all__ = ["ct"]
