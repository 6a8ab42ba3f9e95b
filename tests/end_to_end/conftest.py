"""One small model file and its samples for all runs, and two ways to call the command line."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import in_process
import pytest
from once import made_once
from tiny_files import model_and_samples

MLOPT = str(Path(sys.executable).with_name("mlopt"))


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """model.h5, samples.npz and test.npz."""
    return made_once(tmp_path_factory, "files", model_and_samples)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return made_once(tmp_path_factory, "cache", lambda folder: None)


@pytest.fixture(scope="session")
def mlopt(cache):
    """Run `mlopt ...` as a user does and give back what it did."""

    def call(*arguments, cache_folder=cache, cwd=None, started_by=list):
        environment = os.environ | {"MLOPT_CACHE": str(cache_folder), "COLUMNS": "120"}
        return subprocess.run(
            started_by([MLOPT, *map(str, arguments)]), env=environment, cwd=cwd, capture_output=True, text=True,
            timeout=300, check=False,
        )

    return call


@pytest.fixture(scope="session")
def mlopt_here(tmp_path_factory):
    """The same in this process, without a worker's start: for what no process decides. What it makes stays apart."""
    kept = made_once(tmp_path_factory, "cache-of-one-process", lambda folder: None)
    return functools.partial(in_process.mlopt, cache_folder=kept)


@pytest.fixture(scope="session")
def done(files, cache, tmp_path_factory):
    """A whole run over all formats, with labelled samples: (folder, the JSON object, standard error)."""

    def compress(place):
        run = subprocess.run(
            [MLOPT, "compress", str(files / "model.h5"), "--data", str(files / "samples.npz"), "--test",
             str(files / "test.npz"), "--out", str(place / "bundle"), "--max-drop", "0.1", "--json"],
            env=os.environ | {"MLOPT_CACHE": str(cache)}, capture_output=True, text=True, timeout=600, check=False,
        )
        assert run.returncode == 0, run.stderr
        (place / "stdout.json").write_text(run.stdout)
        (place / "stderr.txt").write_text(run.stderr)

    place = made_once(tmp_path_factory, "done", compress)
    return place / "bundle", json.loads((place / "stdout.json").read_text()), (place / "stderr.txt").read_text()
