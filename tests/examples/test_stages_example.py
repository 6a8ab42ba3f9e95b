"""The script of docs/how-to/stages.md: stages one by one, a choice on the validation samples."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tiny_files import model_and_samples

SCRIPT = Path(__file__).parents[2] / "docs/examples/stages/choose_on_validation.py"


def test_the_choice_is_made_on_validation_samples_and_a_second_run_makes_nothing(tmp_path):
    model_and_samples(tmp_path, samples=300)
    command = [sys.executable, str(SCRIPT), "model.h5", "samples.npz", "test.npz", "cache"]
    runs, entries = [], []
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        runs.append(done.stdout)
        entries.append(sorted(entry.name for entry in (tmp_path / "cache").iterdir() if entry.is_dir()))
    seen, chosen = runs[0].splitlines()[:3], runs[0].splitlines()[3]
    figures = {m[1]: (int(m[2]), float(m[3])) for line in seen
               if (m := re.fullmatch(r"(\S+): (\d+) bytes, drop (\S+) on \d+ validation samples", line))}
    smallest = min((name for name, (_, drop) in figures.items() if drop <= 0.02), key=lambda name: figures[name][0])
    assert chosen.startswith(f"chosen: {smallest}: {figures[smallest][0]} bytes") and "120 test samples" in chosen
    assert runs[1] == runs[0] and entries[1] == entries[0]
    assert sum(name.startswith("proof-") for name in entries[0]) == 4     # three on validation, one on the test's
