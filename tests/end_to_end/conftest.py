"""One small model file and its samples for all runs, and a way to call the command line as a user does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_files import model_and_samples

MLOPT = str(Path(sys.executable).with_name("mlopt"))


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """model.h5, samples.npz and test.npz."""
    folder = tmp_path_factory.mktemp("files")
    model_and_samples(folder)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def mlopt(cache):
    """Run `mlopt ...` and give back what it did."""

    def call(*arguments, cache_folder=cache, cwd=None, started_by=list):
        environment = os.environ | {"MLOPT_CACHE": str(cache_folder), "COLUMNS": "120"}
        return subprocess.run(
            started_by([MLOPT, *map(str, arguments)]), env=environment, cwd=cwd, capture_output=True, text=True,
            timeout=300, check=False,
        )

    return call


@pytest.fixture(scope="session")
def done(files, cache, tmp_path_factory):
    """A whole run over all formats, with labelled samples: (folder, the JSON object, standard error)."""
    out = tmp_path_factory.mktemp("done") / "bundle"
    environment = os.environ | {"MLOPT_CACHE": str(cache)}
    run = subprocess.run(
        [MLOPT, "compress", str(files / "model.h5"), "--data", str(files / "samples.npz"), "--test",
         str(files / "test.npz"), "--out", str(out), "--max-drop", "0.1", "--json"],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )
    assert run.returncode == 0, run.stderr
    return out, json.loads(run.stdout), run.stderr
