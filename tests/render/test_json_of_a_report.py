import dataclasses
import json
import math
from pathlib import Path

import jsonschema
import pytest
from reports import sample_report

from mlopt.errors import MloptError
from mlopt.render.json import from_json, to_json
from mlopt.render.schema import FILES, schema_of, write_schemas
from mlopt.render.summary import Summary, summary
from mlopt.report import Report

REFERENCE = Path(__file__).parents[2] / "docs/reference"
KEYS = [
    "path", "format", "precision", "bytes", "bytes_zipped", "verified", "metric", "value", "interval", "n", "drop",
    "drop_interval", "agreement", "max_abs_error", "sqnr_db", "latency_ratio", "weights_by_dtype", "recommended",
    "reason",
]


@pytest.fixture(scope="module")
def report():
    return sample_report(n=300)


def strict(data):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(data, parse_constant=refuse)


def same(a, b):
    """Equality in which nan equals nan; infinity comes back from JSON as nan."""
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and not math.isfinite(a):
        return math.isnan(b)
    return a == b


def test_a_report_comes_back_from_json_as_it_was(report):
    back = from_json(to_json(report))
    assert isinstance(back, Report) and same(report, back)
    assert to_json(back) == to_json(report)


def test_what_is_unknown_is_null_and_comes_back_as_nan(report):
    plain = strict(to_json(report))
    coreml = next(i for i, c in enumerate(report.candidates) if c.format == "coreml")
    assert plain["candidates"][coreml]["latency"]["ratio"] is None
    assert math.isnan(from_json(to_json(report)).candidates[coreml].latency.ratio)
    assert plain["source"]["path"] == "resnet8.h5"


def test_a_report_of_an_older_minor_form_gets_its_defaults(report):
    plain = strict(to_json(report))
    del plain["class_names"], plain["candidates"][0]["evidence"]["outputs"]
    assert from_json(json.dumps(plain).encode()).class_names == ()


@pytest.mark.parametrize(("data", "message"), [
    (b"{", "this is not a report"),
    (b"[1]", "no schema version"),
    (b'{"schema": true}', "no schema version"),
    (b'{"schema": 2}', "has schema 2, this mlopt reads up to 1: upgrade"),
    (b'{"schema": 1}', "missing required field `source`"),
])
def test_what_is_no_report_is_refused_with_a_sentence(data, message):
    with pytest.raises(MloptError, match=message):
        from_json(data)


def test_the_summary_has_exactly_the_promised_keys(report):
    plain = summary(report)
    assert list(plain) == ["schema", "source", "candidates", "findings", "trained"] and plain["schema"] == 1
    assert all(list(c) == KEYS for c in plain["candidates"])
    assert strict(json.dumps(plain)) == json.loads(json.dumps(plain))


def test_the_summary_of_a_file_that_was_not_made_holds_nulls(report):
    failed = next(c for c in summary(report)["candidates"] if not c["path"])
    assert (failed["value"], failed["interval"], failed["drop"], failed["n"]) == (None, None, None, 0)
    assert failed["metric"] == "none" and not failed["verified"]


def test_an_interval_is_low_and_high(report):
    made = summary(report)["candidates"][2]
    found = report.candidates[2].evidence.drop_interval
    assert list(made["drop_interval"]) == [found.low, found.high]


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_committed_schema_is_the_generated_one(name, tmp_path):
    write_schemas(tmp_path)
    assert (REFERENCE / name).read_text() == (tmp_path / name).read_text(), (
        "regenerate: python -c 'from pathlib import Path; from mlopt.render.schema import write_schemas; "
        'write_schemas(Path("docs/reference"))\''
    )


def test_a_report_and_its_summary_fit_their_schemas(report):
    for kind, plain in ((Report, strict(to_json(report))), (Summary, json.loads(json.dumps(summary(report))))):
        schema = schema_of(kind)
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        validator.validate(plain)
        del plain["candidates"][0]["reason"]
        assert not validator.is_valid(plain)
