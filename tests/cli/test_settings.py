"""Text of the command line to values."""

import pytest

from mlopt.cli import settings


@pytest.mark.parametrize("text", ["0", "1..0", "a..b", "0..", "0..0", "0-1"])
def test_a_bad_interval_says_what_it_should_look_like(text):
    with pytest.raises(settings.BadSetting, match=r"--normalise takes two numbers.*e\.g\. 0\.\.1 or -1\.\.1; got"):
        settings.interval(text)


def test_no_interval_stays_none():
    assert settings.interval(None) is None


@pytest.mark.parametrize("text", ["image", "image=", "=1,2", "image=1,x", "image=1,0,3", "image=1,-2"])
def test_a_bad_shape_says_what_it_should_look_like(text):
    with pytest.raises(settings.BadSetting, match="--input-shape takes a name and"):
        settings.shapes([text])


def test_two_shapes_are_two_inputs():
    assert settings.shapes(["a=1,2", "b=1,3,4"]) == {"a": (1, 2), "b": (1, 3, 4)}


def test_names_ignore_spaces_and_empty_parts():
    assert settings.names(" int8 ,,float16,") == ("int8", "float16")
