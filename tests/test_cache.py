"""Finished stages by content."""

import os
import time
from pathlib import Path

import pytest

from mlopt import files, plugins
from mlopt.cache import Cache, default_root
from mlopt.errors import OutputUnwritable


def fill(store, stage, size=10, age_days=0.0, **on):
    entry = store.entry(stage, code="", **on)
    with files.new_folder(entry) as folder:
        (folder / "result").write_bytes(b"x" * size)
    then = time.time() - age_days * 86400
    os.utime(entry, (then, then))
    return entry


def test_the_same_inputs_name_the_same_entry_and_others_another(tmp_path):
    store = Cache(tmp_path)
    assert store.entry("a", code="", x=1, y="b") == store.entry("a", code="", y="b", x=1)
    assert len({store.entry("a", code="", x=1), store.entry("a", code="", x=2), store.entry("b", code="", x=1)}) == 3


def test_an_entry_depends_on_the_code_that_made_it(tmp_path):
    store = Cache(tmp_path)
    assert store.entry("a", code="one", x=1) != store.entry("a", code="other", x=1)


def test_trimming_deletes_the_least_recently_used_first(tmp_path):
    store = Cache(tmp_path)
    oldest = fill(store, "a", age_days=9, x=1)
    older = fill(store, "a", age_days=5, x=2)
    store.trim(largest_bytes=15)
    assert not oldest.exists() and older.exists()


def test_trimming_leaves_what_was_used_within_a_day(tmp_path):
    store = Cache(tmp_path)
    entry = fill(store, "a", x=1)
    store.trim(largest_bytes=0)
    assert entry.exists()


def test_using_an_entry_makes_it_recent(tmp_path):
    store = Cache(tmp_path)
    entry = fill(store, "a", age_days=9, x=1)
    store.entry("a", code="", x=1)
    store.trim(largest_bytes=0)
    assert entry.exists()


def test_what_a_killed_run_left_half_made_is_deleted_after_a_day(tmp_path):
    store = Cache(tmp_path)
    left = tmp_path / f".{store.entry('a', code='', x=1).name}.tmp"
    left.mkdir()
    os.utime(left, (0, 0))
    store.trim()
    assert not left.exists()


def test_trimming_never_deletes_what_mlopt_did_not_make(tmp_path):
    """The folder that MLOPT_CACHE names may hold other things."""
    for name in ("thesis", ".ssh", "locks", "a-1", ".config-old"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    Cache(tmp_path).trim(largest_bytes=0)
    assert len(list(tmp_path.iterdir())) == 5


def test_every_converter_counts_as_code():
    assert {"mlopt_tflite", "mlopt_onnx", "mlopt_coreml"} <= plugins.sources().keys()


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPT_CACHE", str(tmp_path / "mine"))
    assert Cache().root == tmp_path / "mine"


def test_a_cache_that_cannot_be_written_names_the_variable_to_set(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable, match="MLOPT_CACHE"):
        Cache(tmp_path / "file" / "cache")


def test_a_cache_folder_that_is_there_but_takes_no_file_is_refused_in_one_sentence():
    with pytest.raises(OutputUnwritable) as caught:
        Cache(Path("/proc"))
    assert str(caught.value).count("cannot write") == 1 and "MLOPT_CACHE" in str(caught.value)


def test_without_a_name_of_its_own_the_cache_is_where_the_desktops_standard_has_it(monkeypatch, tmp_path):
    """XDG base directories: XDG_CACHE_HOME, else ~/.cache; empty is unset."""
    monkeypatch.delenv("MLOPT_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_root() == tmp_path / "xdg/mlopt"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_root() == tmp_path / ".cache/mlopt"
