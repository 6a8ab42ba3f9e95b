"""What `make quick` leaves out is there, and what trains or starts whole runs is left out."""

import os
from pathlib import Path

import pytest
from effort import PLACES, TESTS, marker_of
from once import made_once


@pytest.mark.parametrize("place", [place for places in PLACES.values() for place in places])
def test_a_place_that_is_left_out_holds_tests(place):
    path = TESTS / place
    assert path.name.startswith("test_") if path.is_file() else list(path.rglob("test_*.py"))


@pytest.mark.parametrize(("file", "marker"), [
    ("training/test_keras_fit.py", "training"), ("end_to_end/test_resume.py", "long"), ("test_files.py", None),
    ("gate/test_gate_command.py", "long"), ("gate/test_gate_rules.py", None),
])
def test_a_marker_goes_by_folder_or_file(file, marker):
    assert (TESTS / file).exists() and marker_of(TESTS / file) == marker


def test_what_is_made_once_is_made_by_the_first_who_asks_and_whole_or_absent(tmp_path_factory):
    asked = []

    def fail(folder):
        (folder / "half").touch()
        raise ZeroDivisionError

    def write(folder):
        asked.append(folder)
        (folder / "file").write_text("made")

    name = f"of-{os.getpid()}"
    with pytest.raises(ZeroDivisionError):
        made_once(tmp_path_factory, name, fail)
    first, second = (made_once(tmp_path_factory, name, write) for _ in range(2))
    assert first == second and len(asked) == 1
    assert [p.name for p in Path(first).iterdir()] == ["file"]
