"""Instruction counts: exact, repeatable, and true against a program whose count is known by hand."""

import math
import os
import subprocess

import pytest

from mlopt.profiling import instructions, targets
from mlopt.profiling.contract import Arrival, RunRequest
from mlopt.profiling.native import build, emulator
from mlopt.profiling.target import TargetLost, TargetUnusable
from mlopt.profiling.targets.emulated import Difference, EmulatedTarget, arrays

# Marks the loop `count` times round: mov, then subs and b.ne each time round.
KNOWN_LOOP = """
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "marks.h"
int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 1;
    for (int twice = 0; twice < 2; twice++) {
        syscall(SYS_prctl, MARK, MARK_BEGIN, 0, 0, 0);
        __asm__ volatile("mov x9, %0\\n1: subs x9, x9, #1\\nb.ne 1b" : : "r"(rounds) : "x9", "cc");
        syscall(SYS_prctl, MARK, MARK_END, 0, 0, 0);
    }
    return 0;
}
"""


@pytest.fixture
def host_counts(needs_valgrind):
    """Counting on this machine's processor works."""


@pytest.mark.parametrize("core", emulator.CORES)
def test_three_counts_on_an_emulated_core_agree_to_the_last_digit(tiny_files, emulated_arm, core):
    file = tiny_files("depthwise_convnet", "int8")
    counts = [instructions.count(file, core) for _ in range(3)]
    assert counts[0] == counts[1] == counts[2]
    assert len(counts[0].each) == instructions.INFERENCES and min(counts[0].each) <= counts[0].per_inference


@pytest.mark.parametrize("precision", ["int8", "int4-weights"])
def test_three_counts_by_callgrind_agree_to_the_last_digit(tiny_files, host_counts, precision):
    file = tiny_files("small_convnet", precision)      # 4-bit weights take the kernels that are chosen by the clock
    counts = [instructions.count(file) for _ in range(3)]
    assert counts[0] == counts[1] == counts[2]


def test_integer_kernels_with_dot_products_take_fewer_instructions_and_float_ones_nearly_as_many(
    tiny_files, emulated_arm
):
    old, new = (instructions.count(tiny_files("small_convnet", "int8"), core).per_inference for core in emulator.CORES)
    assert new < 0.9 * old
    old, new = (instructions.count(tiny_files("small_convnet"), core).per_inference for core in emulator.CORES)
    assert 0.9 * old < new < 1.1 * old


@pytest.mark.parametrize("rounds", [1, 1000, 123_457])
def test_the_plugin_counts_a_known_loop_exactly(tmp_path, emulated_arm, rounds):
    (tmp_path / "loop.c").write_text(KNOWN_LOOP)
    program = tmp_path / "loop"
    subprocess.run(["aarch64-linux-gnu-gcc", "-O1", "-Wl,-z,now", f"-I{build.SOURCES}", tmp_path / "loop.c", "-o",
                    program], check=True)
    plugin = emulator.plugin(emulated_arm, build.aarch64_counter("the test"), "the test")

    def marked(times: int) -> int:
        folder = tmp_path / str(times)
        folder.mkdir()
        command = emulated_arm.command(folder, "cortex-a72", "the test", f"{plugin},out=counts")
        subprocess.run([*command, program, str(times)], cwd=folder, check=True)
        first, second, end = (folder / "counts").read_text().split()
        assert first == second and end == "end"
        return int(first)

    assert marked(rounds + 1000) - marked(rounds) == 2 * 1000


def test_an_emulated_core_computes_what_this_host_computes_and_has_no_latency(tiny_files, emulated_arm):
    file = tiny_files("two_inputs_two_outputs", "int8")
    request = RunRequest(file="", format="tflite", nonce="4711", threads=2, operators=True, arrival=Arrival.FIXED_RATE)
    result = targets.open_target("emulated:cortex-a76").measure(file, request)
    assert result.nonce == "4711" and result.error == ""
    assert result.extra["output_difference"].split()[0] in ("0", "1")
    assert int(result.extra["instructions"]) > 1000 and "Cortex-A76" in result.extra["instructions_conditions"]
    assert result.samples_us == () and math.isnan(result.phases.load_ms) and math.isnan(result.phases.first_ms)
    assert any("latency is unknown" in note for note in result.notes)
    assert any("2 threads" in note for note in result.notes) and any("operators" in note for note in result.notes)
    assert result.memory.file == file.stat().st_size and result.memory.heap_delta > 0
    assert "asimddp" in result.facts.features and result.facts.runtime.startswith("LiteRT 2")


def test_a_count_says_under_which_conditions_it_holds(tiny_files, host_counts):
    conditions = instructions.count(tiny_files("small_convnet", "int8")).conditions
    assert conditions.startswith("x86-64 with") and "callgrind" in conditions and "LiteRT" in conditions


def test_an_output_off_by_two_steps_or_a_nan_is_no_agreement():
    assert Difference(steps=1, relative=1e-4).within_a_step
    assert not Difference(steps=2, relative=0.0).within_a_step
    assert not Difference(steps=0, relative=float("nan")).within_a_step


def test_an_output_of_an_unknown_type_is_refused():
    with pytest.raises(TargetUnusable, match="element type 5"):
        arrays(b"ab", "5x2")


def test_a_file_that_is_no_model_is_refused_with_the_runtimes_words(tmp_path, host_counts):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"TFL3" * 100)
    with pytest.raises((TargetUnusable, TargetLost), match=r"LiteRT cannot run this file|no result"):
        instructions.count(broken)


def test_other_formats_and_other_processors_are_refused(tmp_path):
    with pytest.raises(TargetUnusable, match=r"not counted in model\.onnx\. Give one of \.tflite"):
        instructions.count(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="x86-64, cortex-a72, cortex-a76"):
        instructions.count(tmp_path / "model.tflite", "cortex-m4")
    with pytest.raises(TargetUnusable, match="emulated:cortex-a72 or emulated:cortex-a76"):
        EmulatedTarget("cortex-m4")
    request = RunRequest(file="", format="onnx", nonce="n")
    with pytest.raises(TargetUnusable, match="onnx"):
        EmulatedTarget("cortex-a72").measure(tmp_path / "model.onnx", request)


@pytest.mark.parametrize(
    ("on", "sentence"),
    [("x86-64", "`valgrind` is not installed. It needs apt-get install valgrind"),
     ("cortex-a72", "`qemu-aarch64` is not installed. It needs apt-get install qemu-user")],
)
def test_a_tool_that_is_not_installed_is_named_with_its_package(tiny_files, tmp_path, monkeypatch, on, sentence):
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(TargetUnusable) as caught:
        instructions.count(tiny_files("small_convnet"), on)
    assert sentence in str(caught.value)


def test_a_count_that_takes_too_long_ends(tiny_files, host_counts):
    with pytest.raises(TargetUnusable, match="did not end within"):
        instructions.count(tiny_files("small_convnet"), timeout_s=0.2)
