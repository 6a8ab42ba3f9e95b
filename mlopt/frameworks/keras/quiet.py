"""TensorFlow and the legacy Keras, imported without their start-up chatter; all else that they say is passed on.

The chatter is written by C++ before its log level is read, so the file descriptor itself is held for the import.
"""

import gc
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

CHATTER = re.compile(
    r"All log messages before absl::InitializeLog"
    r"|oneDNN custom operations are on|rebuild TensorFlow with the appropriate compiler flags"
    r"|This TensorFlow binary is optimized to use available CPU instructions"
    r"|To enable the following instructions|Number of eligible GPUs|single_machine\.cc"
    r"|Could not find cuda drivers|cuda[a-z_]*\.cc|Unable to register cu[A-Z]+ factory|TF-TRT Warning"
)


@contextmanager
def chatter_held() -> Iterator[None]:
    """Hold what is written to the standard error stream, then pass on every line that is not known chatter."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if line.strip() and not CHATTER.search(line):
                    sys.stderr.write(line + "\n")


@contextmanager
def garbage_left() -> Iterator[None]:
    """Collect no garbage meanwhile: an import of TensorFlow makes a million objects that stay.

    To look through them again and again takes a quarter of the import's time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")   # warnings of kernels and graph passes; errors still come through
with chatter_held(), garbage_left():
    import tensorflow as tf
    import tf_keras
    from tensorflow.python.eager.wrap_function import function_from_graph_def
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
    from tf_keras.src.saving.serialization_lib import SafeModeScope

    tf.config.list_physical_devices("GPU")      # looks for a GPU now, so that "there is none" is said now as well

__all__ = [
    "SafeModeScope", "chatter_held", "convert_variables_to_constants_v2", "function_from_graph_def", "tf", "tf_keras",
]  # fmt: skip
