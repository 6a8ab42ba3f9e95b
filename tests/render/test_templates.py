"""Nothing that comes from outside is markup on a page, in whichever field it stands."""

import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import jinja2
import pytest
import reports
from pages import Page

import mlopt.render.html
from mlopt.render.html import to_html
from mlopt.render.html.environment import page

TEMPLATES = sorted((Path(mlopt.render.html.__file__).parent / "templates").glob("*.j2"))
HOSTILE = "<script>alert('1')</script>\"><img src=x onerror=\"y\">"
CHOSEN = {"metric", "measure", "severity", "code"}     # words of ours, never of a file


def spoiled(value, name=""):
    """The same with hostile text after every text that a model, a data set or a machine may have given."""
    if isinstance(value, Path):
        return value.with_name("a" + HOSTILE.replace("/", "_"))
    if isinstance(value, str) and type(value) is str and name not in CHOSEN:
        return value + HOSTILE
    if isinstance(value, tuple):
        return tuple(spoiled(item, name) for item in value)
    if isinstance(value, dict):
        return {key: spoiled(item, key) for key, item in value.items()}
    if is_dataclass(value):
        return replace(value, **{f.name: spoiled(getattr(value, f.name), f.name) for f in fields(value) if f.init})
    return value


@pytest.mark.parametrize("made", [lambda: reports.sample_report(n=300),
                                  lambda: reports.trained(reports.sample_report(n=300))], ids=["plain", "trained"])
def test_hostile_text_in_every_field_of_a_report_is_text_on_its_page(made):
    text = to_html(spoiled(made()))
    found = Page(text)
    assert found.open == [] and found.tags.count("script") == 1 and "img" not in found.tags
    assert not [a for a in found.attributes if a[1].startswith("on") or HOSTILE in a[1]]
    assert sum(HOSTILE in said for said in found.text) > 100


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_takes_no_escaping_off_and_quotes_every_attribute(path):
    text = path.read_text()
    assert not re.search(r"\|\s*safe|autoescape|Markup", text)
    assert not re.search(r"=\{\{|=[A-Za-z0-9]+>", re.sub(r"\{%.*?%\}|\{#.*?#\}", "", text, flags=re.S))


def test_a_name_that_a_page_was_not_given_is_an_error_and_not_a_gap():
    with pytest.raises(jinja2.UndefinedError, match="subtitle"):
        page("page.html.j2")
