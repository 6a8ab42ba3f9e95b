"""JSON and TOML that anybody may have written: read as the standard says, or refused with the place."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlopt.documents import DEEPEST, DocumentInvalid, content, json_value, toml_value
from mlopt.errors import MloptError

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(st.none() | st.booleans() | NUMBERS | TEXTS,
                      lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))


@given(VALUES)
def test_whatever_json_can_say_is_read_as_it_was(value):
    assert json_value(json.dumps(value)) == value
    assert json_value(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(("text", "says"), [
    ("NaN", "nan is no number of JSON, at $"), ('{"a": [0, Infinity]}', "at $.a[1]"),
    ('{"a b": -Infinity}', "at $['a b']"), ('{"a": 1e999}', "inf is no number of JSON, at $.a"),
    ('{"a": 1, "a": 1}', "the key 'a' stands twice"), ('{"a": {"b": 1, "b": 2}}', "the key 'b' stands twice"),
    ('["\\ud800"]', "half of a surrogate pair, at $[0]"), ('{"\\udfff": 1}', "half of a surrogate pair"),
    ("[18446744073709551616]", "more than 64 bits, at $[0]"), ("9" * 5000, "this is no JSON"),
    ("", "this is no JSON"), ("{'a': 1}", "this is no JSON"), ("[1,]", "this is no JSON"), ("1 2", "this is no JSON"),
    ("[" * 100_000, "deeper than 64 levels"), ('{"a":' * 100_000 + "1" + "}" * 100_000, "deeper than 64 levels"),
])
def test_what_no_strict_json_holds_is_refused_with_its_place(text, says):
    with pytest.raises(DocumentInvalid) as caught:
        json_value(text)
    assert says in caught.value.found and isinstance(caught.value, MloptError | ValueError)


def test_brackets_nest_as_deep_as_is_said_and_no_deeper():
    assert json_value("[" * DEEPEST + "]" * DEEPEST)
    with pytest.raises(DocumentInvalid, match=f"deeper than {DEEPEST}"):
        json_value("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))


def test_nan_is_read_where_a_program_of_ours_wrote_it_and_infinity_never_is():
    assert str(json_value("NaN", nan_allowed=True)) == "nan"
    with pytest.raises(DocumentInvalid):
        json_value("Infinity", nan_allowed=True)


@pytest.mark.parametrize("text", [b"\xff", b'{"a": "\xed\xa0\x80"}', "{}".encode("utf-16")])
def test_bytes_that_are_no_utf8_are_refused(text):
    with pytest.raises(DocumentInvalid, match="not UTF-8"):
        json_value(text)


def test_a_sentence_about_a_long_key_is_short_and_steers_no_terminal():
    with pytest.raises(DocumentInvalid) as caught:
        json_value(json.dumps({"\x1b[2J" * 1000: 10**30}))
    assert len(str(caught.value)) <= 300 and str(caught.value).isprintable()


@pytest.mark.parametrize("text", [
    b"a = [" + b"[" * 100_000, b"a = " + b"9" * 5000, b"a = 1\na = 2", b"a = 2027-02-31", b"\xff", b"a =",
])
def test_what_is_no_toml_is_refused(text):
    with pytest.raises(DocumentInvalid, match=r"this is no TOML|not UTF-8"):
        toml_value(text)


def test_toml_is_read_as_python_reads_it():
    assert toml_value(b"a = 1.5\n[b]\nc = [1, 2]\n") == {"a": 1.5, "b": {"c": [1, 2]}}


def test_a_file_of_at_most_so_many_bytes_is_read_and_a_larger_one_is_not(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    assert len(content(tmp_path / "a", most_bytes=100)) == 100
    with pytest.raises(DocumentInvalid, match="at most 99 bytes"):
        content(tmp_path / "a", most_bytes=99)


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless", "."):
        with pytest.raises(DocumentInvalid, match=r"it is a (named pipe|device|folder), where a regular"):
            content(tmp_path / name, most_bytes=100)
    with pytest.raises(FileNotFoundError):
        content(tmp_path / "none", most_bytes=100)
