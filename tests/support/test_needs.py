"""Skips: allowed on a developer's machine, failures in CI but for hardware, the kernel and the network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = "from needs import pytest_make_collect_report, pytest_runtest_makereport"
TESTS = """
import pytest
from needs import needs_hardware, needs_kernel, needs_network, needs_program

@pytest.fixture
def server():
    needs_program("sh", "mlopt-no-such-server")

def test_passes():
    needs_program("sh")
    needs_hardware(True, "anything")
    needs_kernel(True, "anything")
    needs_network(True, "anything")

def test_program():
    needs_program("sh", "mlopt-no-such-program")

def test_fixture(server):
    pass

@pytest.mark.skipif(True, reason="I say so")
def test_mark():
    pass

def test_hardware():
    needs_hardware(False, "an Apple processor")

def test_kernel():
    needs_kernel(False, "it has no Landlock")

@pytest.fixture
def index():
    needs_network(False, "no wheel could be fetched")

def test_network(index):
    pass

@pytest.mark.xfail(reason="known")
def test_known():
    assert False
"""
MODULE = "import pytest\npytest.importorskip('mlopt_no_such_module')\n"


def suite(folder: Path, required: str) -> tuple[dict[str, int], str]:
    """Outcomes of a small suite, and its words."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_one.py").write_text(TESTS)
    (folder / "test_two.py").write_text(MODULE)
    settings = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "MLOPT_TESTS_REQUIRE_PROGRAMS": required}
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder),
               "--continue-on-collection-errors"]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    counts = re.findall(r"(\d+) (passed|failed|skipped|errors?|xfailed)", done.stdout.splitlines()[-1])
    return {name.removesuffix("s"): int(count) for count, name in counts}, done.stdout


@pytest.mark.parametrize("not_required", ["", "0"])
def test_on_a_developers_machine_what_is_missing_is_skipped_with_its_reason(tmp_path, not_required):
    counts, words = suite(tmp_path, not_required)
    assert counts == {"passed": 1, "skipped": 7, "xfailed": 1}
    assert "not installed: mlopt-no-such-program. `make system-packages` installs what tests need." in words


def test_where_programs_are_required_only_what_no_package_mends_is_a_reason_to_skip(tmp_path):
    counts, words = suite(tmp_path, "1")
    assert counts == {"passed": 1, "failed": 1, "skipped": 3, "error": 3, "xfailed": 1}     # errors: before the test
    for allowed in ("not on this hardware: an Apple processor", "not with this kernel: it has no Landlock",
                    "not without a network: no wheel could be fetched"):
        assert allowed in words
    for forbidden in ("mlopt-no-such-program", "mlopt-no-such-server", "I say so", "mlopt_no_such_module"):
        assert re.search(rf"skipped where MLOPT_TESTS_REQUIRE_PROGRAMS forbids it: .*{forbidden}", words)
