"""Which code a stage's key holds."""

import pytest

from mlopt import code, plugins


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that changes its file, and the digest of a stage that runs it."""
    place = tmp_path / "mlopt_plugged"
    place.mkdir()
    monkeypatch.setattr(code, "_sources", lambda: {"mlopt_plugged": place})
    code._found.cache_clear()
    (place / "__init__.py").write_text("")

    def digest(text, kernel=""):
        (place / "kernel.py").write_text(kernel)
        (place / "work.py").write_text(text)
        return code.digest(["mlopt_plugged.work:run"])

    yield digest
    code._found.cache_clear()


def test_words_and_places_in_the_file_decide_nothing(module):
    plain = module("def run():\n    return 1\n")
    assert module('"""New words."""\n\n\ndef run():\n    """More."""\n    return 1  # why\n') == plain


def test_a_changed_number_decides_in_a_process_that_was_running_before(module):
    assert module("def run():\n    return 1\n") != module("def run():\n    return 22\n")


@pytest.mark.parametrize("text", [
    "from mlopt_plugged import kernel\ndef run():\n    return kernel.VALUE\n",
    "def run():\n    from mlopt_plugged.kernel import VALUE\n    return VALUE\n",
    "WHO = 'mlopt_plugged.kernel:VALUE'\ndef run(): ...\n",
])
def test_what_is_imported_late_or_named_as_text_decides_too(module, text):
    assert module(text, kernel="VALUE = 1") != module(text, kernel="VALUE = 22")


def test_what_only_a_type_checker_imports_decides_nothing(module):
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mlopt_plugged import kernel\ndef run(): ...\n"
    assert module(text, kernel="VALUE = 1") == module(text, kernel="VALUE = 22")


def test_files_of_weights_alone_do_not_depend_on_the_lowering_to_integers():
    by_name = {one.name: one.make for one in plugins.load_converter("tflite").precisions}
    runs_it = {name for name, make in by_name.items() if make and "mlopt_tflite.static" in code.closure([make])}
    assert runs_it == {"int8", "int16x8", "int8-mixed-4-8"}
