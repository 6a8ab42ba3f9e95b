import time

import pytest

from mlopt.profiling.runner import timing
from mlopt.profiling.runner.apart import in_child


def busy(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_a_queue_shows_at_a_fixed_rate_because_time_counts_from_the_schedule():
    timed = timing.fixed_rate(lambda: busy(0.004), runs=20, most_seconds=5, rate_hz=500)
    waits = [b - a for a, b in zip(timed.samples_us, timed.samples_us[1:], strict=False)]
    assert timed.missed >= 18                       # every 2 ms one that takes 4 ms
    assert min(waits) >= 1900                       # each waits 2 ms longer than the one before
    assert timed.samples_us[-1] >= 4000 + 19 * 2000 - 100


def test_a_device_that_keeps_up_misses_nothing_that_it_did_not_sleep_through():
    timed = timing.fixed_rate(lambda: None, runs=10, most_seconds=5, rate_hz=100)
    assert len(timed.samples_us) == 10 and timed.missed <= 2 and timed.wake_us >= 0
    assert len(timed.woken_late) >= 5               # a run of nothing is all wake-up


def test_a_fixed_rate_without_a_rate_is_refused():
    with pytest.raises(ValueError, match="per second"):
        timing.fixed_rate(lambda: None, runs=1, most_seconds=1, rate_hz=0)


def test_back_to_back_keeps_every_run_and_divides_a_batch(monkeypatch):
    calls = []
    with monkeypatch.context() as patched:
        patched.setattr(timing.time, "perf_counter_ns", lambda: 8_000 * len(calls))     # each call takes 8 us
        timed = timing.back_to_back(lambda: calls.append(0), runs=7, most_seconds=5, batch=25)
    assert len(timed.samples_us) == 7 and len(calls) == 175 and timed.batch == 25
    assert timed.samples_us == [8.0] * 7            # of one call, not of 25
    one = timing.back_to_back(lambda: busy(0.001), runs=5, most_seconds=5)
    assert one.batch == 1 and all(us >= 1000 for us in one.samples_us)


def test_timing_stops_at_its_time_limit_with_the_runs_there_are():
    timed = timing.back_to_back(lambda: busy(0.01), runs=1000, most_seconds=0.05)
    assert 1 <= len(timed.samples_us) <= 7


def test_the_warm_up_goes_on_until_times_hold_still():
    slow_first = iter([0.004] * 25)
    warm = timing.warm_up(lambda: busy(next(slow_first, 0.001)), least=5, most_seconds=10)
    assert warm.runs >= 50 and warm.steady and warm.median_us < 2000     # 30 runs on the way down, three still windows


def test_the_warm_up_makes_its_least_runs_even_when_time_is_up():
    warm = timing.warm_up(lambda: busy(0.01), least=5, most_seconds=0.0)
    assert warm.runs == 5 and not warm.steady


@pytest.mark.parametrize(("us", "batch"), [(20.0, 1), (19.9, 5), (5.0, 20), (0.5, 200)])
def test_models_under_20_us_share_a_sample_of_a_tenth_of_a_millisecond(us, batch):
    assert timing.batch_for(us) == batch


def test_runs_that_were_held_up_are_left_out_of_operator_means_and_counted():
    rounds = timing.Rounds()
    rounds.us, rounds.switched = [100.0] * 18 + [5000.0, 101.0], [False] * 19 + [True]
    quiet = rounds.quiet()
    assert quiet == list(range(18)) and rounds.mean_us(quiet) == 100.0
    assert "2 of 20" in rounds.notes(quiet)[0]


def test_a_run_a_quarter_longer_than_the_fastest_tenth_is_held_up():
    rounds = timing.Rounds()
    rounds.us, rounds.switched = [100.0] * 10 + [124.0, 126.0], [False] * 12
    assert rounds.quiet() == list(range(11))


def test_when_nearly_all_runs_were_held_up_all_count():
    rounds = timing.Rounds()
    rounds.us, rounds.switched = [100.0] * 10, [True] * 9 + [False]
    assert rounds.quiet() == list(range(10)) and rounds.notes(rounds.quiet()) == []


def test_a_child_answers_fails_and_crashes_without_taking_its_parent_along():
    import os
    import signal

    assert in_child("sum", lambda: {"value": [1, 2]}) == ({"value": [1, 2]}, "")
    assert in_child("sum", lambda: 1 / 0) == (None, "sum: ZeroDivisionError: division by zero")
    lost, why = in_child("sum", lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert lost is None and "SIGKILL" in why
