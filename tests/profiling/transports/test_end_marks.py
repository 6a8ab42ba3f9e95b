import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlopt.profiling.transports.marker import Marker, quoted

MARKER = Marker(nonce="5e")


def test_marks_are_different_for_every_command():
    assert Marker().nonce != Marker().nonce and len(Marker().nonce) == 32


@given(st.binary(), st.integers(0, 255), st.binary().filter(lambda text: b"mlopt-begin" not in text))
def test_any_output_between_the_marks_comes_back_with_its_status(out, status, before):
    raw = before + b"@@mlopt-begin:42:5e@@\n" + out + b"\n@@mlopt-end:%d:5e@@\n" % status
    seen = MARKER.read(raw)
    assert (seen.out, seen.status, seen.pid) == (out, status, 42)


@given(st.integers(0, 60))
def test_an_output_cut_anywhere_before_its_end_has_no_status(kept):
    raw = b"@@mlopt-begin:42:5e@@\nhello\n@@mlopt-end:0:5e@@\n"
    assert MARKER.read(raw[: min(kept, len(raw) - 1)]).status is None


def test_the_marks_of_another_command_are_output():
    raw = b"@@mlopt-begin:42:5e@@\n\n@@mlopt-end:0:ff@@\n"
    assert MARKER.read(raw).status is None


def test_the_command_line_itself_shown_by_ps_is_not_a_mark():
    shown = MARKER.wrap("ps").encode()
    raw = b"@@mlopt-begin:42:5e@@\n" + shown + b"\n@@mlopt-end:4:5e@@\n"
    assert (MARKER.read(raw).status, MARKER.read(raw).out) == (4, shown)


def test_what_a_command_leaves_running_may_still_print():
    seen = MARKER.read(b"@@mlopt-begin:42:5e@@\nhello\n@@mlopt-end:0:5e@@\nlater\n")
    assert (seen.out, seen.status, seen.after) == (b"hello", 0, b"later\n")


def test_line_ends_of_a_terminal_become_plain():
    seen = MARKER.read(b"@@mlopt-begin:42:5e@@\r\none\r\ntwo\r\n\r\n@@mlopt-end:7:5e@@\r\n")
    assert (seen.out, seen.status) == (b"one\ntwo\n", 7)


@pytest.mark.parametrize("command", [[], ["A=b"], ["printf", "a\0b"]])
def test_a_command_that_a_shell_would_read_as_something_else_is_refused(command):
    with pytest.raises(ValueError, match="a command is a program and its words"):
        quoted(command)
