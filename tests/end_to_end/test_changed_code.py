"""What a change of mlopt's own code makes again, in a copy of it: the results of that code, and no others."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mlopt.testing import tiny

ROOT = Path(__file__).parents[2]
PARTS = ("mlopt", "converters", "recipes")
RECIPE = """\
schema: 1
about: One step that trains, and files with and without integers.
steps:
  - finetune: {epochs: 1}
export:
  - {to: tflite, precision: float16}
  - {to: tflite, precision: int8}
  - {to: tflite, precision: int8-dynamic}
  - {to: tflite, precision: mixed-4-8}
  - {to: onnx, precision: float16}
  - {to: onnx, precision: int8}
"""
COMMAND = "import sys; from mlopt.cli import main; sys.exit(main())"


class Copy:
    """A copy of the code that a test may edit, a run of it, and what each run left in the cache."""

    def __init__(self, place: Path, model: Path) -> None:
        self.place, self.model = place, model
        for part in PARTS:
            shutil.copytree(ROOT / part, place / "code" / part, ignore=shutil.ignore_patterns("__pycache__"))
        (place / "recipe.yaml").write_text(RECIPE)

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.place / "code" / file
        text = path.read_text()
        assert text.count(old) == 1, (file, text.count(old))
        path.write_text(text.replace(old, new))

    def made_by_a_run(self) -> tuple[Counter, set[str]]:
        """How many entries of each stage are new, and the names of the files among them."""
        before = self._entries()
        code = self.place / "code"
        path = os.pathsep.join([str(code), *(str(code / part) for part in PARTS[1:])])
        run = subprocess.run(
            [sys.executable, "-c", COMMAND, "compress", str(self.model / "model.h5"), "--train",
             str(self.model / "train.npz"), "--test", str(self.model / "test.npz"), "--recipe",
             str(self.place / "recipe.yaml"), "--out", str(self.place / "bundle"), "--max-drop", "0.9", "--json"],
            env=os.environ | {"MLOPT_CACHE": str(self.place / "cache"), "PYTHONPATH": path}, cwd=self.place,
            capture_output=True, text=True, check=False,
        )
        assert run.returncode == 0, run.stderr
        new = self._entries() - before
        report = json.loads((self.place / "bundle/report.json").read_text())
        name_of = {c["sha256"]: f"{c['format']}/{c['precision']}" for c in report["candidates"]}
        made = [json.loads((self.place / "cache" / entry / "file.json").read_text())["sha256"]
                for entry in new if entry.startswith("made-")]
        return Counter(entry.partition("-")[0] for entry in new), {name_of[digest] for digest in made}

    def _entries(self) -> set[str]:
        cache = self.place / "cache"
        return {entry.name for entry in cache.iterdir() if entry.is_dir()} if cache.exists() else set()


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    place = tmp_path_factory.mktemp("changed-code")
    model = tiny.TinyModel(tiny.build("small_convnet"))
    model.model.save(place / "model.h5", save_format="h5")
    inputs = tiny.inputs_for(model, 240, 5)
    labels = model.predict(inputs)["label"].argmax(axis=1)
    np.savez(place / "train.npz", image=inputs["image"][:200], label=labels[:200])
    np.savez(place / "test.npz", image=inputs["image"][200:], label=labels[200:])
    copied = Copy(place, place)
    stages, files = copied.made_by_a_run()
    assert stages["step"] == 1 and len(files) == 8, (stages, files)
    return copied


def test_a_help_text_a_page_and_a_docstring_make_nothing_again(copy):
    copy.edit("mlopt/cli/__init__.py", 'help="From a trained', 'help="From your trained')
    copy.edit("mlopt/cli/compress.py", "prove each in its own runtime", "prove every one in its own runtime")
    copy.edit("mlopt/render/markdown.py", "The report as Markdown, for a pull request", "Markdown, for a pull request")
    assert copy.made_by_a_run() == (Counter(), set())


def test_a_kernel_of_the_lowering_to_integers_makes_the_integer_files_again_and_nothing_else(copy):
    copy.edit("converters/mlopt_tflite/static.py", "BIAS_LIMIT = 2.0**30", "BIAS_LIMIT = 2.0**29")
    stages, files = copy.made_by_a_run()
    assert files == {"tflite/int8"}
    assert stages == {"made": 1, "proof": 1}     # the bytes are the same, so that what was timed stays


def test_a_kernel_of_another_formats_lowering_leaves_every_other_format(copy):
    copy.edit("converters/mlopt_onnx/qdq.py", "def insert(", "EDITED = True\n\n\ndef insert(")
    stages, files = copy.made_by_a_run()
    assert files == {"onnx/int8"}
    assert stages == {"made": 1, "proof": 1}     # the bytes are the same, so that what was timed stays
