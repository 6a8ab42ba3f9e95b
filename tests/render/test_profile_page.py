"""The page of a profile: whole, quiet, safe, and honest about what is not known."""

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from pages import Page

from mlopt.profiling.contract import DeviceFacts, MemoryBytes, OperatorTime, PhaseTimes, RunResult
from mlopt.profiling.energy import Energy, Part
from mlopt.profiling.instructions import Instructions
from mlopt.profiling.session import FileProfile, Profile, Settings
from mlopt.profiling.shares import by_unit
from mlopt.profiling.statistics import summarise
from mlopt.render.profile_page import to_html

HOSTILE = '<script>alert(1)</script>"\'><img src=x onerror=y>\x1b[2J'
SEEN = '<script>alert(1)</script>"\'><img src=x onerror=y>'


def operator(index, us, name="Convolution (NHWC, F32) IGEMM", op="CONV_2D", *, layer="", unit="XNNPACK"):
    return OperatorTime(index=index, name=name, op=op, layer=layer, unit=unit, mean_us=us, runs=100)


def profiled(file="nets/a.tflite", runs=700, operators=None, samples=None, **fields):
    random = np.random.default_rng(3)
    samples = tuple(samples if samples is not None else 80 + random.gamma(2.0, 2.0, runs))
    facts = DeviceFacts(name="Board 4", system="Linux", processor="Cortex-A76", features=("asimddp",), cores=4,
                        frequency_khz=(2_400_000,), temperature_c=51.0, runtime="LiteRT 2.3.0", runner="runner 1")
    phases = PhaseTimes(import_ms=120.0, load_ms=1.0, compile_ms=2.0, first_ms=0.3)
    result = RunResult(nonce="n", facts=facts, phases=phases, warmup_runs=30, samples_us=samples)
    ops = operators if operators is not None else (
        operator(0, 60.0, layer="model/conv1/Conv2D"), operator(1, 15.0, "SOFTMAX", "SOFTMAX", unit="builtin"),
    )
    made = FileProfile(
        file=file, sha256="ab" * 32, target="ssh:pi5", facts=facts, phases=phases, distribution=summarise(result),
        samples_us=samples, operators=ops, units=by_unit(ops),
        memory=MemoryBytes(file=86_128, weights=78_744, arena=199_680, heap_delta=576_832, peak_delta=659_456, pss=10),
        operators_sum_us=sum(op.mean_us for op in ops) if ops else float("nan"), operators_plain_us=80.0,
        operators_invoke_us=140.0, notes=("a note",),
    )
    return replace(made, **fields)


def page(*profiles, compared=False, **settings):
    return to_html(Profile(settings=Settings(**settings), profiles=profiles), compared=compared)


def visible(text):
    return " ".join(Page(text).text)


def test_the_page_is_well_formed_and_asks_nobody_for_anything():
    text = page(profiled(), profiled("nets/b.tflite"), compared=True)
    made = Page(text)
    assert made.open == []
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.replace("<!doctype html>", ""))
    assert [(t, v) for t, k, v in made.attributes if k in ("src", "href", "action", "data")] == [("link", "data:,")]
    ids = [v for _, k, v in made.attributes if k == "id"]
    assert len(ids) == len(set(ids))
    labelled = [v for _, k, v in made.attributes if k == "aria-labelledby"]
    assert set(labelled) <= set(ids)


def test_its_own_script_is_the_only_one_that_its_policy_allows():
    text = page(profiled())
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in text


def test_names_from_files_and_devices_are_text_and_never_markup():
    ops = (operator(0, 5.0, HOSTILE, HOSTILE, layer=HOSTILE, unit=HOSTILE),
           operator(1, 4.0, HOSTILE + " (x)", "", unit=""))
    facts = DeviceFacts(name=HOSTILE, system=HOSTILE, processor=HOSTILE, features=(HOSTILE,), governor=HOSTILE,
                        runtime=HOSTILE, runner=HOSTILE)
    count = Instructions(per_inference=5, each=(5, 5), processor=HOSTILE, tool=HOSTILE, runtime=HOSTILE, runner=HOSTILE)
    energy = Energy(parts=(Part(name=HOSTILE, per_inference_uj=1.0),), watts=1.0, reason="")
    bad = profiled(HOSTILE, operators=ops, facts=facts, notes=(HOSTILE,), sha256=HOSTILE, target=HOSTILE,
                   instructions=(count,), energy=energy)
    for found in (page(bad), page(bad, replace(bad, file="other", energy=Energy(reason=HOSTILE)), compared=True)):
        made = Page(found)
        assert made.open == [] and made.tags.count("script") == 1 and "img" not in made.tags
        assert not [a for a in made.attributes if a[1].startswith("on")]
        assert any(SEEN in t for t in made.text) and "\x1b" not in found


def test_the_page_can_be_read_without_seeing_it():
    made = Page(page(profiled(), profiled("b.tflite"), compared=True))
    drawn = [a for a in made.attributes if a[1:] == ("role", "img")]
    labels = [v for _, k, v in made.attributes if k == "aria-label"]
    assert len(drawn) == len(labels) >= 8          # two figures and a strip for each file, a range for each
    assert any(label.startswith("Histogram of 700 runs: p50 8") for label in labels)
    assert made.tags.count("th") == len([a for a in made.attributes if a[:2] == ("th", "scope")])
    assert ("html", "lang", "en") in made.attributes


def test_a_p99_of_too_few_runs_is_refused_in_words():
    text = page(profiled(runs=200))
    assert "p99 needs 662 runs, there are 200" in visible(text)
    assert 'class="p p90"' in text and 'class="p p99"' not in text


def test_every_run_is_drawn_once_as_a_dot_or_as_a_triangle_above_the_range():
    samples = [80.0 + i % 7 for i in range(696)] + [900.0] * 4
    text = page(profiled(samples=samples))
    dots = re.search(r'class="dots" d="([^"]*)"', text).group(1)
    assert (dots.count("M"), text.count('class="beyond"')) == (696, 4)
    assert "4 slower runs, up to 900 µs, lie beyond the right edge" in visible(text)


def test_a_long_tail_leaves_the_rest_readable_and_is_pointed_at():
    text = page(profiled(samples=[80.0 + i % 7 for i in range(680)] + [4000.0] * 20))
    assert "p99 4.00 ms →" in visible(text) and 'class="p p99"' not in text and 'class="p p90"' in text
    assert "20 slower runs, up to 4.00 ms, lie beyond the right edge" in visible(text)


def test_equal_times_still_make_a_figure():
    for samples in ((5.0,), (5.0, 5.0), (0.001,) * 700, (1e7,) * 700):
        made = Page(page(profiled(samples=samples)))
        assert made.open == [] and not any("nan" in str(a).lower() for a in made.attributes)


def test_the_sum_of_the_operators_stands_beside_an_inference_without_profiling():
    text = visible(page(profiled()))
    assert "2 operators add up to 75.00 µs, 94 % of the 80.00 µs of an inference without profiling" in text
    assert "with profiling it took 140.00 µs" in text


def test_time_is_split_by_compute_unit():
    text = visible(page(profiled()))
    assert re.search(r"By compute unit\s+XNNPACK\s+60\.0 µs\s+80\.0 %\s+builtin\s+15\.0 µs\s+20\.0 %", text)


def test_the_timeline_lays_operators_end_to_end():
    text = page(profiled(operators=(operator(0, 30.0), operator(1, 10.0), operator(2, 60.0))))
    places = re.findall(r'style="margin-left:([\d.]+)%;width:([\d.]+)%"', text)
    assert places == [("0.000", "30.000"), ("30.000", "10.000"), ("40.000", "60.000")]


def test_a_comparison_shows_the_same_operation_of_both_files():
    before = profiled("f.tflite", operators=(operator(0, 50.0),))
    after = profiled("q.tflite", operators=(operator(0, 12.0, "Convolution (NHWC, QC8) IGEMM"),))
    text = visible(page(before, after, compared=True))
    assert re.search(r"CONV_2D #1\s+50\.00\s+12\.00\s+−38\.00", text)
    assert "What changed" not in visible(page(before, after))


def test_what_is_not_known_is_said():
    bare = profiled(operators=(), samples=(), memory=MemoryBytes(), phases=PhaseTimes(), notes=(),
                    energy=Energy(reason="energy_uj is readable by root alone"))
    text = visible(page(bare))
    assert "No operators were profiled" in text
    assert "Energy: unavailable (energy_uj is readable by root alone)" in text
    assert "nan" not in text.lower()


def test_energy_is_told_by_part_and_in_all():
    parts = (Part(name="package-0", per_inference_uj=1500.0), Part(name="dram 0", per_inference_uj=80.5))
    text = visible(page(profiled(energy=Energy(parts=parts, watts=21.0, reason=""))))
    assert "1.50 mJ" in text and "80.5 µJ" in text and "1.58 mJ" in text and "21.0 W" in text


def test_files_of_one_name_are_told_apart_by_their_folder():
    text = visible(page(profiled("x/net.tflite"), profiled("y/net.tflite")))
    assert "x/net.tflite" in text and "y/net.tflite" in text and "mlopt gate" in text


def test_a_throttled_device_is_said_above_the_figures():
    one = profiled()
    hot = replace(one, facts=replace(one.facts, throttled=True))
    text = visible(page(hot))
    assert text.index("The processor slowed down") < text.index("p50")
    assert "The processor slowed down" not in visible(page(one))


@pytest.mark.parametrize("count", [1, 45])
def test_a_long_table_of_operators_is_folded_and_holds_all(count):
    text = page(profiled(operators=tuple(operator(i, 1.0 + i) for i in range(count))))
    table = text[text.index('class="gantt"'):].partition("</table>")[0]
    assert table.count("<tr>") - 1 == count
    assert ("<details open>" in text) == (count == 1)
    assert ("others" in visible(text)) == (count > 12)
