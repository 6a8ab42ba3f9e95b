from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlopt.choice import choose
from mlopt.report import Candidate, ClassDrop, Evidence, Interval, Latency, Severity


def file(precision, size, drop, *, half=0.002, fmt="tflite", ratio=float("nan"), spread=0.01, **rest):
    evidence = Evidence(runtime="r", samples="test", n=1000, metric="top1", value=0.9 - drop, drop=drop,
                        drop_interval=Interval(low=drop - half, high=drop + half), agreement=0.99)
    latency = Latency(ratio=ratio, ratio_interval=Interval(low=ratio - spread, high=ratio + spread))
    made = Candidate(format=fmt, precision=precision, about="", path=f"{fmt}/{precision}", bytes=size, verified=True,
                     evidence=evidence, latency=latency)
    return replace(made, **rest)


def unlabelled(precision, size, agreement):
    made = file(precision, size, float("nan"))
    evidence = replace(made.evidence, metric="none", agreement=agreement, drop_interval=Interval(),
                       agreement_interval=Interval(low=agreement - 0.001, high=min(1.0, agreement + 0.001)))
    return replace(made, evidence=evidence)


def recommended(choice):
    return [f"{c.format}/{c.precision}" for c in choice.candidates if c.recommended]


def reason(choice, precision):
    return next(c.reason for c in choice.candidates if c.precision == precision)


FILES = (file("float32", 320_000, 0.0), file("int8", 87_000, 0.004), file("int4", 48_000, 0.032))


def test_each_format_recommends_its_smallest_file_within_the_limit():
    choice = choose([*FILES, file("float32", 330_000, 0.0, fmt="onnx"), file("int8", 91_000, 0.02, fmt="onnx")])
    assert recommended(choice) == ["tflite/int8", "onnx/float32"]
    assert choice.limit.met and (choice.limit.measure, choice.limit.bound) == ("drop", 0.01)
    assert [c.meets_limit for c in choice.candidates] == [True, True, False, True, False]


def test_reasons_carry_the_figures():
    choice = choose(FILES)
    assert reason(choice, "int8") == "smallest of 2 files within the limit: 87,000 bytes, drop 0.40 points [0.20, 0.60]"
    assert reason(choice, "float32").startswith("within the limit but larger than int8: drop 0.00 points [−0.20, 0.20]")
    assert reason(choice, "int4") == "over the limit: drop 3.20 points [3.00, 3.40] against 1.00 points"


def test_a_drop_whose_interval_holds_zero_is_called_noise():
    assert "inside the noise" in reason(choose([file("int8", 1, 0.001)]), "int8")
    assert "inside the noise" not in reason(choose([file("int8", 1, 0.004)]), "int8")


def test_an_interval_across_the_limit_asks_for_more_samples_on_either_side():
    assert "really within 1.00 points" in reason(choose([file("int8", 1, 0.009)]), "int8")
    assert "really outside 1.00 points" in reason(choose([file("int8", 1, 0.011)]), "int8")


def test_among_equally_small_files_the_sure_one_wins_then_the_faster_then_the_nearer():
    sure, fast = file("sure", 10_050, 0.004, ratio=1.2), file("fast", 10_000, 0.009, ratio=0.5)
    assert recommended(choose([sure, fast])) == ["tflite/sure"]
    slow, quick = file("slow", 10_000, 0.001, ratio=1.2), file("quick", 10_050, 0.002, ratio=0.6)
    assert recommended(choose([slow, quick])) == ["tflite/quick"]
    far, near = file("far", 10_000, 0.003), file("near", 10_000, 0.001)
    assert recommended(choose([far, near])) == ["tflite/near"]
    assert recommended(choose([file("sure", 10_200, 0.004), fast])) == ["tflite/fast"]      # more than 1 % larger


def test_a_recommended_file_that_is_slower_here_says_so_unless_it_is_noise():
    slower = "slower than float on this processor: 1.30×"
    assert slower in reason(choose([file("int8", 1, 0.0, ratio=1.3)]), "int8")
    assert "slower" not in reason(choose([file("int8", 1, 0.0, ratio=1.005)]), "int8")
    assert "slower" not in reason(choose([file("int8", 1, 0.0, ratio=0.7)]), "int8")


@pytest.mark.parametrize(("change", "words"), [
    ({"verified": False, "evidence": None}, "not proven in its own runtime"),
    ({"path": "", "verified": False, "evidence": None, "bytes": 0}, "not made"),
    ({"evidence": replace(FILES[1].evidence, nonfinite=3)}, "3 of 1,000 samples gave NaN or infinity"),
    ({"evidence": replace(FILES[1].evidence, drop=float("nan"))}, "unknown is not within the limit"),
])
def test_what_is_unproven_or_unknown_is_never_recommended(change, words):
    choice = choose([FILES[0], replace(FILES[1], **change)])
    assert recommended(choice) == ["tflite/float32"]
    second = choice.candidates[1]
    assert words in second.reason and not second.meets_limit and not second.on_pareto_front


def test_when_nothing_meets_the_limit_the_nearest_miss_is_named():
    choice = choose([file("int8", 87_000, 0.02), file("int4", 48_000, 0.05)])
    assert not choice.limit.met and choice.limit.nearest == "tflite/int8" and recommended(choice) == []
    (finding,) = choice.findings
    assert (finding.severity, finding.code, finding.about) == (Severity.WARNING, "nothing-within-limit", "tflite")
    assert "the nearest is int8: drop 2.00 points" in finding.message
    assert "the nearest of its format" in reason(choice, "int8")


def test_without_labels_the_limit_is_on_agreement():
    choice = choose([unlabelled("float32", 300, 1.0), unlabelled("int8", 90, 0.99), unlabelled("int4", 50, 0.985)])
    assert (choice.limit.measure, choice.limit.bound) == ("agreement", 0.99)
    assert recommended(choice) == ["tflite/int8"]
    assert "agrees with the source on 99.00 % of 1,000 samples" in reason(choice, "int8")


def test_a_recommended_file_that_surely_loses_a_class_is_a_warning():
    lost = ClassDrop(name="cat", n=90, source=0.9, value=0.8, drop=0.1, drop_interval=Interval(low=0.04, high=0.16))
    bad, unsure = file("int8", 87_000, 0.004), file("int8", 87_000, 0.004)
    bad = replace(bad, evidence=replace(bad.evidence, worst_class=lost))
    unsure = replace(unsure, evidence=replace(unsure.evidence, worst_class=replace(
        lost, drop_interval=Interval(low=-0.01, high=0.21))))
    (finding,) = choose([bad]).findings
    assert (finding.code, finding.about, finding.severity) == ("group-loses", "tflite/int8", Severity.WARNING)
    assert finding.message == (
        "class cat loses 10.00 points [4.00, 16.00] on its 90 samples, while the whole loses 0.40"
    )
    assert choose([unsure]).findings == ()


def test_fewer_samples_and_the_reading_of_labels_are_told_once():
    few = replace(FILES[1], evidence=replace(FILES[1].evidence, n=200))
    noted = [replace(c, evidence=replace(c.evidence, notes=("labels read so",))) for c in (FILES[0], few)]
    assert [(f.code, f.about, f.message) for f in choose(noted).findings] == [
        ("how-compared", "data", "labels read so"),
        ("fewer-samples", "tflite/int8", "compared on 200 of 1,000 samples, so its interval is wider"),
    ]


def test_a_limit_is_a_fraction():
    with pytest.raises(ValueError, match=r"0\.01 for one point"):
        choose(FILES, max_drop=2)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(-3, 20)), min_size=1, max_size=8), st.integers(0, 20))
def test_no_recommended_file_is_beaten_and_the_front_is_what_nothing_dominates(pairs, limit):
    files = [file(str(i), size * 1000, drop / 1000) for i, (size, drop) in enumerate(pairs)]
    choice = choose(files, max_drop=limit / 1000)
    within = [c for c in choice.candidates if c.meets_limit]
    assert [c.meets_limit for c in choice.candidates] == [drop <= limit for _, drop in pairs]
    chosen = [c for c in choice.candidates if c.recommended]
    assert len(chosen) == bool(within)
    for c in chosen:
        assert c.bytes == min(w.bytes for w in within)      # sizes are thousands: none lies within 1 % of another
    for c, (size, drop) in zip(choice.candidates, pairs, strict=True):
        beaten = any(s <= size and d <= drop and (s, d) != (size, drop) for s, d in pairs)
        assert c.on_pareto_front is not beaten


def test_a_file_that_takes_many_times_longer_is_not_recommended_while_another_is_within_the_limit():
    slow = file("int16x8", 80_000, 0.0, ratio=27.0)
    choice = choose([*FILES, slow])
    assert recommended(choice) == ["tflite/int8"]
    assert reason(choice, "int16x8").startswith("within the limit but slow: 27.00× of float on this processor")
    assert reason(choice, "int8").startswith("smallest of 2 files within the limit")
    assert recommended(choose([file("int8", 87_000, 0.5), slow])) == ["tflite/int16x8"]


def test_being_slower_than_float_by_less_than_five_times_does_not_exclude():
    assert recommended(choose([*FILES, file("mixed", 50_000, 0.001, ratio=4.0)])) == ["tflite/mixed"]
