import time

from mlopt.profiling.transports.call import call


def test_a_program_that_hangs_is_killed_in_time():
    started = time.monotonic()
    called = call(["sh", "-c", "echo partial; sleep 60"], timeout_s=0.5)
    assert called.timed_out and called.out == b"partial\n" and time.monotonic() - started < 5


def test_a_grandchild_that_holds_the_pipes_is_not_waited_for():
    started = time.monotonic()
    called = call(["sh", "-c", "sleep 20 & echo done"], timeout_s=15)
    assert (called.status, called.out, called.timed_out) == (0, b"done\n", False) and time.monotonic() - started < 5


def test_a_program_that_closes_its_outputs_and_stays_is_killed_in_time():
    started = time.monotonic()
    called = call(["sh", "-c", "exec >&- 2>&-; sleep 60"], timeout_s=0.5)
    assert called.timed_out and time.monotonic() - started < 5


def test_a_program_that_floods_is_killed():
    called = call(["yes"], timeout_s=30, most_output=1 << 20)
    assert called.flooded and (1 << 20) < len(called.out) < (2 << 20)


def test_a_program_that_does_not_read_its_input_does_not_block():
    assert call(["true"], timeout_s=10, stdin=bytes(1 << 20)).status == 0


def test_input_larger_than_a_pipe_arrives_whole():
    assert call(["wc", "-c"], timeout_s=30, stdin=bytes(3_000_000)).out.strip() == b"3000000"


def test_the_last_words_before_the_end_are_never_missed():
    for pause in [0.0, 0.09, 0.1, 0.11] * 2:           # around the reader's own rhythm of a tenth of a second
        assert call(["sh", "-c", f"sleep {pause}; echo last"], timeout_s=10).out == b"last\n"
