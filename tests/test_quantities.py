"""What a figure can be: held to when it is read from a file, and told in the published schemas."""

import math
from dataclasses import dataclass

import jsonschema
import msgspec
import pytest

from mlopt import plain
from mlopt.quantities import Amount, Count, Counted, MaybeCount, Ratio, Score, Share, ShareDifference
from mlopt.render.schema import schema_of


@dataclass(frozen=True, kw_only=True)
class Figures:
    share: Share = 0.5
    difference: ShareDifference = 0.0
    score: Score = 0.5
    amount: Amount = 1.0
    ratio: Ratio = 1.0
    count: Count = 0
    counted: Counted = 1
    maybe: MaybeCount = -1
    several: tuple[Ratio, ...] = ()
    named: dict[str, Count] | None = None


WITHIN = [
    ("share", 0), ("share", 1), ("share", 0.3), ("difference", -1), ("difference", 1), ("score", -7.5), ("score", 1),
    ("amount", 0), ("amount", 1e300), ("ratio", 1e-300), ("count", 0), ("count", 2**63 - 1), ("counted", 1),
    ("maybe", -1), ("several", [0.5, 2]), ("named", {"a": 5}), ("named", None),
]
OUTSIDE = [
    ("share", -1e-9), ("share", 1.0000001), ("difference", -1.1), ("difference", 1.1), ("score", 1.1),
    ("amount", -1e-9), ("ratio", 0), ("ratio", -2.0), ("count", -1), ("count", 2**63), ("counted", 0), ("maybe", -2),
    ("several", [0.5, -2]), ("named", {"a": -5}),
]
NO_NUMBER = [(name, value) for name in ("share", "amount", "count") for value in ("0.5", "5", True, [1], {})]


@pytest.mark.parametrize(("name", "value"), WITHIN)
def test_a_figure_within_its_range_is_read_as_it_stands(name, value):
    read = getattr(plain.from_json({name: value}, Figures), name)
    assert read == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(("name", "value"), OUTSIDE)
def test_a_figure_outside_its_range_is_refused_with_its_place(name, value):
    with pytest.raises(msgspec.ValidationError, match=rf"out of range.*`\$\.{name}"):
        plain.from_json({name: value}, Figures)


@pytest.mark.parametrize(("name", "value"), NO_NUMBER)
def test_text_a_truth_value_or_a_list_is_no_number(name, value):
    with pytest.raises(msgspec.ValidationError, match=rf"Expected.*\$\.{name}"):
        plain.from_json({name: value}, Figures)


def test_a_count_has_no_fraction_and_null_is_no_count():
    for value in (1.5, 1.0, None):
        with pytest.raises(msgspec.ValidationError, match=r"\$\.count"):
            plain.from_json({"count": value}, Figures)


def test_an_unknown_share_is_null_in_the_file_and_nan_in_memory():
    assert math.isnan(plain.from_json({"share": None}, Figures).share)


@pytest.mark.parametrize(("name", "value"), WITHIN + OUTSIDE)
def test_the_published_schema_says_the_same_range(name, value):
    schema = schema_of(Figures)
    del schema["$defs"]["Figures"]["required"]
    fits = jsonschema.Draft202012Validator(schema).is_valid({name: value})
    assert fits == ((name, value) in WITHIN)
