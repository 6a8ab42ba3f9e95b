"""The committed baseline: readable in a diff, and read back as it was."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlopt.gate import baseline
from mlopt.gate.baseline import Stored
from mlopt.gate.budget import BudgetError, Metric
from mlopt.gate.evidence import Fact

COUNTED = st.sampled_from([Metric.SIZE, Metric.ARENA, Metric.INSTRUCTIONS])
NAMES = st.tuples(st.text(min_size=1).filter(lambda t: t == t.strip() and " on " not in t),
                  st.sampled_from(["", "host", "adb:8A2 X", "emulated:cortex-a76"]), COUNTED)


@given(st.dictionaries(NAMES, st.integers(0, 2**60)))
def test_figures_come_back_as_they_were(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("baseline") / baseline.NAME
    kept = Stored(values=values, conditions={name: "LiteRT 2.3.0" for name in values if name[1]})
    baseline.write(path, kept)
    assert baseline.read(path) == kept


def test_each_figure_has_a_line_in_the_order_of_its_name():
    names = [("b.tflite", "", Metric.SIZE), ("a.tflite", "host", Metric.ARENA), ("a.tflite", "", Metric.OPS)]
    stored = Stored(values=dict(zip(names, [5, 7, ("MUL", "ADD")], strict=True)))
    text = baseline.to_json(stored).decode()
    lines = [line.strip(" ,") for line in text.splitlines() if "tflite" in line]
    assert lines == ['"a.tflite arena on host": 7', '"a.tflite ops": ["ADD", "MUL"]', '"b.tflite size": 5']
    assert json.loads(text)["schema"] == 1 and text.endswith("}\n")


def test_an_update_replaces_what_it_measured_and_keeps_the_rest():
    size, arena = ("a", "", Metric.SIZE), ("a", "host", Metric.ARENA)
    before = Stored(values={size: 5, arena: 7}, conditions={arena: "LiteRT 2.2.0"})
    after = before.updated({arena: Fact(value=9, origin="x", conditions="LiteRT 2.3.0")})
    assert after.values == {size: 5, arena: 9} and after.conditions == {arena: "LiteRT 2.3.0"}


def test_no_file_is_an_empty_baseline(tmp_path):
    assert baseline.read(tmp_path / "none.json") == Stored()


@pytest.mark.parametrize("text", [
    "", "[]", "{}", '{"schema": 2}', '{"schema": 1, "metrics": []}', '{"schema": 1, "metrics": {"a": 1}}',
    '{"schema": 1, "metrics": {"a sise": 1}}', '{"schema": 1, "metrics": {"a size": "1"}}',
    '{"schema": 1, "metrics": {"a size": 1.5}}', '{"schema": 1, "metrics": {"a ops": "ADD"}}',
    '{"schema": 1, "metrics": {"a size": true}}', "[" * 100_000,
])
def test_what_no_update_wrote_is_refused(tmp_path, text):
    path = tmp_path / baseline.NAME
    path.write_text(text)
    with pytest.raises(BudgetError, match=r"mlopt-baseline\.json: "):
        baseline.read(path)


def test_a_merge_conflict_left_in_the_file_is_refused(tmp_path):
    path = tmp_path / baseline.NAME
    path.write_text('{\n<<<<<<< ours\n "metrics": {},\n=======\n>>>>>>> theirs\n "schema": 1\n}\n')
    with pytest.raises(BudgetError, match="this is no baseline"):
        baseline.read(path)
