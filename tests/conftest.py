"""The test process is like a worker that sees TensorFlow: torch's compiler after TensorFlow would kill it."""

import gc
import os
import signal

from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:       # what a shell does to jobs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)    # else the programs that tests start never hear Ctrl-C
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:       # what nohup does
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

from effort import marker_of
from needs import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401  # hooks, found by their names

from mlopt import telemetry
from mlopt.isolation import NEVER_NEEDED, TORCH, hide

gc.disable()                # until all tests are imported, and TensorFlow with them: a quarter of the time
telemetry.switch_off()      # before a test imports ONNX Runtime

hide(TORCH | NEVER_NEEDED - {"sklearn"})      # the tests hold figures to scikit-learn's

settings.register_profile("steady", derandomize=True)     # the same examples in every run: a red test is red again
settings.load_profile("steady")


def pytest_collection_modifyitems(items):
    for item in items:
        marker = marker_of(item.path)
        if marker:
            item.add_marker(marker)


def pytest_collection_finish():
    gc.freeze()         # what was imported stays: the collector need not look through it again
    gc.enable()
