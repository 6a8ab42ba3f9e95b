"""Damaged models: each opens, or is refused with a documented error, in bounded time; no traceback, nothing left."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from hostile_saved_models import exported
from mutations import mutations

from mlopt.testing import tiny

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")   # of Keras, as it saves

CHILD = Path(__file__).parents[1] / "support" / "opening_child.py"
READY_S = 240.0          # what importing TensorFlow takes on a busy machine, and more
LONGEST_S = 60.0         # for one file: opening this network takes a tenth of a second
REFUSALS = {"ModelUnreadable", "UntrustedCode"}


class Opener:
    """One process that opens many files; a new one where it was killed."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        self._start()

    def _start(self) -> None:
        reading, writing = os.pipe()
        environment = os.environ | {"TMPDIR": str(self.temporary), "KERAS_BACKEND": "tensorflow"}
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(writing)], stdin=subprocess.PIPE, pass_fds=[writing], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )
        os.close(writing)
        self.answers = os.fdopen(reading, "rb", buffering=0)
        ready = self._line(READY_S)
        assert ready == b"ready\n", f"the process that opens files did not start: {ready!r}"

    def open(self, path: Path) -> tuple[str, str]:
        """(how it ended, what was said)."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        answer = self._line(LONGEST_S)
        if answer:
            ended, said = json.loads(answer)
            return ended, str(said)
        if answer is None:
            ended, said = "hang", ""
        else:                                   # the process ended over this file
            status = self.process.wait()
            ended, said = "killed" if status < 0 else "traceback", f"exit status {status}"
        self.close()
        self._start()
        return ended, said

    def _line(self, seconds: float) -> bytes | None:
        """What the process says next; empty where it ended, None where it says nothing for so long."""
        until, line = time.monotonic() + seconds, b""
        while not line.endswith(b"\n"):
            if not select.select([self.answers], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            piece = self.answers.read(1 << 16)
            if not piece:
                return b""
            line += piece
        return line

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.kill()
        self.process.wait()
        self.answers.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


@pytest.fixture(scope="module")
def opener(tmp_path_factory):
    made = Opener(tmp_path_factory.mktemp("temporary"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    network = tiny.build("autoencoder")
    network.compile("adam", "mse")
    network.save(folder / "model.h5", save_format="h5")
    network.save(folder / "legacy.keras")
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x))).save(folder / "model.keras")
    exported(folder / "saved", tf.identity)
    return folder


def tried(opener, damaged, count) -> Counter:
    """How many ended in which way; those that ended in no documented way fail the test, with what they said."""
    ends: Counter = Counter()
    for index, path in enumerate(damaged):
        ended, said = opener.open(path)
        ends[ended] += 1
        assert ended in REFUSALS | {"opened", "killed"}, (index, ended, said)
        assert ended in ("opened", "killed") or (str(path) in said and "\n" not in said), (index, said)
    assert sum(ends.values()) == count
    assert not list(opener.temporary.iterdir())
    return ends


@pytest.mark.parametrize("name", ["model.h5", "legacy.keras", "model.keras"])
def test_a_damaged_file_opens_or_is_refused(name, models, opener, tmp_path, fuzz_mutations):
    path = tmp_path / name

    def damaged():
        for content in mutations((models / name).read_bytes(), fuzz_mutations, seed=len(name)):
            path.write_bytes(content)
            yield path

    ends = tried(opener, damaged(), fuzz_mutations)
    assert ends["killed"] <= fuzz_mutations // 50, ends          # a worker that ends is told as that; it is rare


@pytest.mark.parametrize(
    ("name", "member"),
    [(name, member) for name in ("legacy.keras", "model.keras") for member in ("config.json", "model.weights.h5")],
)
def test_a_damaged_member_of_a_whole_archive_opens_or_is_refused(  # noqa: PLR0917  # fixtures
    name, member, models, opener, tmp_path, fuzz_mutations
):
    """Damage of the archive itself is found by its checksums; this is damage with the right checksum."""
    path = tmp_path / name
    with zipfile.ZipFile(models / name) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    count = -(-fuzz_mutations // 4)

    def damaged():
        for content in mutations(members[member], count, seed=len(member)):
            with zipfile.ZipFile(path, "w") as archive:
                for one, stored in members.items():
                    archive.writestr(one, content if one == member else stored)
            yield path

    ends = tried(opener, damaged(), count)
    assert ends["killed"] <= max(1, count // 50), ends


@pytest.mark.parametrize(
    "part", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_a_damaged_saved_model_opens_or_is_refused(part, models, opener, tmp_path, fuzz_mutations):
    folder = tmp_path / "saved"
    shutil.copytree(models / "saved", folder)
    original = (models / "saved" / part).read_bytes()
    count = -(-fuzz_mutations // 3)                              # the three files together are one format

    def damaged():
        for content in mutations(original, count, seed=len(part)):
            (folder / part).write_bytes(content)
            yield folder

    ends = tried(opener, damaged(), count)
    assert ends["killed"] <= max(1, count // 50), ends
