"""What a test needs of its machine, and what happens where the machine lacks it.

A lack skips the test, with the reason. With MLOPT_TESTS_REQUIRE_PROGRAMS=1, as in `.ci/run`, a skip is a failure: on a
machine that `make system-packages` has prepared, only hardware, the kernel, or a network that is not there is a reason.
"""

import os
import shutil
import subprocess

import pytest

REQUIRED = "MLOPT_TESTS_REQUIRE_PROGRAMS"
_HARDWARE, _KERNEL, _NETWORK = "not on this hardware: ", "not with this kernel: ", "not without a network: "
_ALLOWED = (_HARDWARE, _KERNEL, _NETWORK)               # what no package changes
_SYSTEM_FOLDERS = "/usr/sbin:/sbin:/usr/local/sbin"      # where servers lie, outside an ordinary user's PATH


def needs_program(*names: str) -> None:
    """Skip unless all these programs are installed."""
    absent = [name for name in names if not (shutil.which(name) or shutil.which(name, path=_SYSTEM_FOLDERS))]
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}. `make system-packages` installs what tests need.")


def needs_hardware(there: bool, what: str) -> None:
    """Skip, in every case, unless it is `there`; `what` finishes "not on this hardware: "."""
    if not there:
        pytest.skip(_HARDWARE + what)


def needs_kernel(there: bool, what: str) -> None:
    """Skip, in every case, unless it is `there`; `what` finishes "not with this kernel: "."""
    if not there:
        pytest.skip(_KERNEL + what)


def needs_network(there: bool, what: str) -> None:
    """Skip, in every case, unless it is `there`; `what` finishes "not without a network: "."""
    if not there:
        pytest.skip(_NETWORK + what)


def succeeds(*command: str) -> bool:
    """Whether a short command does here what it should; False without its program."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _judged((yield))


def _judged(report):
    """The same report, failed where it was skipped for what a package would mend, and skipping is not allowed."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(REQUIRED, "") not in ("", "0"):
        file, line, reason = report.longrepr
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(_ALLOWED):
            report.outcome = "failed"
            report.longrepr = f"{file}:{line}: skipped where {REQUIRED} forbids it: {reason}"
    return report
