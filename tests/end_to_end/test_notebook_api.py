"""The Python API in processes that have a framework already, as notebooks have."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("imported", ["tensorflow", "keras", "torch"])
def test_the_api_works_in_a_process_that_has_imported(imported, files, cache, done, tmp_path):
    """A worker that opens the model, others that time files: what `done` has made and proven is not made again."""
    code = (
        f"import {imported}, os\n"
        "import mlopt\n"
        f"model = mlopt.load({str(files / 'model.h5')!r})\n"
        "assert model.parameters == 996, model.parameters\n"
        f"os.environ['MLOPT_CACHE'] = {str(cache)!r}\n"
        f"result = mlopt.compress({str(files / 'model.h5')!r}, test={str(files / 'test.npz')!r},\n"
        f"    out={str(tmp_path / 'bundle')!r}, formats=['tflite', 'coreml'], precisions=['float16'])\n"
        "assert all(c.verified for c in result.report.candidates)\n"
        "assert result.path(result.best['tflite']).exists()\n"
        "assert 'float16' in result.table() and 'srcdoc' in result._repr_html_()\n"
    )
    environment = os.environ | {"MLOPT_CACHE": str(tmp_path / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
