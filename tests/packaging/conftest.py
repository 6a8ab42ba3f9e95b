import subprocess
import sys
from pathlib import Path

import pytest
from once import made_once

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    def build(dest):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dest)], cwd=ROOT, check=True,
            capture_output=True,
        )

    (built,) = made_once(tmp_path_factory, "wheel", build).glob("*.whl")
    return built
