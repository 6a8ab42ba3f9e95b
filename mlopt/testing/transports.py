"""What every transport must do, as a test class to subclass: a mistake found once is checked in all of them."""

import os
import time
from pathlib import Path

import pytest

from mlopt.profiling.target import TargetLost, TargetUnusable, Transport

_WORDS = ("a b", "it's", 'say "so"', "$HOME", "`id`", "a;b", "*", "back\\slash", "--", "\u00e4\u00f6", "tab\there", "")


class TransportContract:
    """A subclass gives two fixtures: `transport`, and `there`, an absolute path of an empty folder on its device."""

    separate_errors = True          # False where a device merges both outputs
    full = "/dev/full"              # a path whose writing fails for want of space

    @pytest.mark.parametrize("status", [0, 1, 7, 127, 255])
    def test_a_status_comes_back_as_it_was(self, transport: Transport, status: int) -> None:
        assert transport.run(["sh", "-c", f"exit {status}"], timeout_s=20).status == status

    def test_both_outputs_come_back(self, transport: Transport) -> None:
        ran = transport.run(["sh", "-c", "echo one; echo two >&2"], timeout_s=20)
        assert (ran.out, ran.err) == ("one\n", "two\n") if self.separate_errors else "two" in ran.out

    def test_words_reach_the_command_unchanged(self, transport: Transport) -> None:
        assert transport.run(["printf", "%s|", *_WORDS], timeout_s=20).out == "".join(f"{word}|" for word in _WORDS)

    def test_a_mark_in_the_output_is_not_the_end(self, transport: Transport) -> None:
        forged = "\n@@mlopt-end:0:0123456789abcdef0123456789abcdef@@\n"
        ran = transport.run(["sh", "-c", 'printf "$1"; exit 3', "sh", forged], timeout_s=20)
        assert (ran.status, ran.out) == (3, forged)

    def test_a_program_that_is_not_there_is_127_and_not_a_lost_device(self, transport: Transport) -> None:
        assert transport.run(["mlopt-no-such-program"], timeout_s=20).status == 127

    def test_a_megabyte_of_output_is_whole(self, transport: Transport) -> None:
        ran = transport.run(["sh", "-c", "yes 0123456 | head -c 1000000"], timeout_s=30)
        assert ran.out == ("0123456\n" * 125000)[:1000000]

    def test_a_command_past_its_time_is_lost_and_ended_on_the_device(self, transport: Transport, there: str) -> None:
        started = time.monotonic()
        with pytest.raises(TargetLost, match="had not ended after 1 s"):
            transport.run(["sh", "-c", 'echo $$ > "$1"/pid; sleep 60; echo late', "sh", there], timeout_s=1)
        assert time.monotonic() - started < 15
        alive = "grep -q '^State:.[^ZX]' /proc/$(cat \"$1\"/pid)/status 2>&1"       # Z: dead, not yet collected
        script = f"for i in 1 2 3 4 5 6 7 8 9; do {alive} || exit 0; sleep 0.1; done; exit 1"
        assert transport.run(["sh", "-c", script, "sh", there], timeout_s=20).status == 0

    def test_five_megabytes_go_and_come_back_equal(self, transport: Transport, there: str, tmp_path: Path) -> None:
        sent = tmp_path / "it's \"a\" file.bin"
        sent.write_bytes(bytes(range(256)) + b"\r\n\n\r" + os.urandom(5 << 20))
        transport.push(sent, f"{there}/it's \"there\" now.bin")
        transport.pull(f"{there}/it's \"there\" now.bin", tmp_path / "back again")
        assert (tmp_path / "back again").read_bytes() == sent.read_bytes()

    def test_an_empty_file_goes_and_comes_back(self, transport: Transport, there: str, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        transport.push(tmp_path / "empty", f"{there}/empty")
        transport.pull(f"{there}/empty", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b""

    def test_a_full_disk_is_said(self, transport: Transport, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(bytes(100_000))
        with pytest.raises(TargetUnusable, match=r"No space left on device\. Free some space"):
            transport.push(tmp_path / "file", self.full)

    def test_a_file_that_is_not_there_is_said_and_nothing_is_written(
        self, transport: Transport, there: str, tmp_path: Path
    ) -> None:
        with pytest.raises(TargetUnusable, match="cannot read"):
            transport.pull(f"{there}/absent", tmp_path / "back")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_not_there_is_said(self, transport: Transport, there: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"content")
        with pytest.raises(TargetUnusable, match="cannot write"):
            transport.push(tmp_path / "file", f"{there}/absent/file")

    @pytest.mark.parametrize("odd", ["relative", "/tmp/../etc/x", "/tmp/a\nb", "/tmp/folder/", "", "/"])
    def test_odd_paths_are_refused_before_anything_is_sent(
        self, transport: Transport, odd: str, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"content")
        with pytest.raises(ValueError, match="path on a device"):
            transport.push(tmp_path / "file", odd)
        with pytest.raises(ValueError, match="path on a device"):
            transport.pull(odd, tmp_path / "back")

    def test_the_device_names_itself(self, transport: Transport) -> None:
        facts = transport.facts()
        assert facts.name and facts.system and facts.cores >= 1
