"""A TOML file is a tree in which every value knows its line, however it was written."""

import datetime
import time

import pytest

from mlopt.configuration.toml import read_toml
from mlopt.configuration.toml_lines import lines_of
from mlopt.configuration.values import ConfigurationInvalid, Source


def test_lines_are_found_in_nested_arrays_of_tables():
    text = "a = 1\n[[b]]\nx = 1\n[[b.c]]\ny = 2\n[[b]]\n# x = 1\n[[b.c]]\n'y' = 3\n[[b.c]]\nz.w = 4\n"
    lines = lines_of(text)
    assert lines["b", 0, "x"] == 3 and lines["b", 0, "c", 0, "y"] == 5
    assert lines["b", 1, "c", 0, "y"] == 9 and lines["b", 1, "c", 1, "z", "w"] == 11
    assert ("b", 1, "x") not in lines


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "some.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_toml(Source(path=tmp_path / "some.toml", refusal=ConfigurationInvalid), most_bytes=1 << 20)
    return write


def test_a_value_is_what_tomls_grammar_says_and_an_error_names_its_line(written):
    root = written("\ufeffwhole = 3\nday = 2027-03-01\n[a]\n[[a.b]]\nnames = ['x', 'y']\n")
    (inner,) = root.table_at("a").tables_at("b")
    assert (root.integer("whole", default=0, most=5), root.date("day")) == (3, datetime.date(2027, 3, 1))
    assert inner.names("names") == ("x", "y") and inner.name == "a.b"
    with pytest.raises(ConfigurationInvalid, match=r"some\.toml:5: `names` takes text; got a list of 2"):
        inner.text("names")
    with pytest.raises(ConfigurationInvalid, match=r"some\.toml:4: `day` is missing"):
        inner.text("day")


@pytest.mark.parametrize(("text", "says"), [
    ("a = 1\n" + "b." * 100_000 + "c = 1", "nests deeper than 64 levels"),
    ("[" + "b." * 100_000 + "c]", "nests deeper than 64 levels"),
    ("[a." + "b." * 40 + "c]\n" + "b." * 40 + "c = 1", "nests deeper than 64 levels"),
    ('"a" . ' + "'b'.".replace("'", '"') * 100_000 + "c = 1", "nests deeper than 64 levels"),
    ("a = 1\nb = '\xe9'".encode("latin-1"), "toml:2: is not"),
    (b"a = 1\0", "binary"), (b"#" * (1 << 20) + b"#", "at most 1,048,576 bytes"),
])
def test_a_file_that_would_cost_much_is_refused(written, text, says):
    with pytest.raises(ConfigurationInvalid, match=says):
        written(text)


@pytest.mark.parametrize("text", ["a" * 1_000_000, '"' * 1_000_001, "a.a " * 200_000, "'a' " * 200_000])
def test_text_that_only_begins_like_a_deep_key_is_looked_at_once(written, text):
    began = time.process_time()
    with pytest.raises(ConfigurationInvalid, match="this is no TOML"):
        written(text)
    assert time.process_time() - began < 5
