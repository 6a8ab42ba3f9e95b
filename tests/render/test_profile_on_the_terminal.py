"""A profile as text: nothing from a file or a device steers the terminal."""

import io
from dataclasses import replace

from rich.console import Console

from mlopt.profiling.contract import DeviceFacts, MemoryBytes, OperatorTime, PhaseTimes, RunResult
from mlopt.profiling.energy import Energy
from mlopt.profiling.session import FileProfile
from mlopt.profiling.shares import by_unit
from mlopt.profiling.statistics import summarise
from mlopt.render import profiles

HOSTILE = "\x1b[2J[bold]x[/bold]"


def profiled(name="Add (ND)", op="ADD", layer="a/add", unit="XNNPACK"):
    facts = DeviceFacts(name="board", system="s", processor="p", runtime="LiteRT 2.3.0")
    result = RunResult(nonce="n", facts=facts, phases=PhaseTimes(), warmup_runs=1, samples_us=(10.0,) * 700)
    ops = (OperatorTime(index=0, name=name, op=op, layer=layer, unit=unit, mean_us=6.0, runs=10),
           OperatorTime(index=1, name="SOFTMAX", op="SOFTMAX", layer="", unit="builtin", mean_us=2.0, runs=10))
    return FileProfile(
        file="a.tflite", sha256="0", target="host", facts=facts, phases=PhaseTimes(), distribution=summarise(result),
        samples_us=result.samples_us, memory=MemoryBytes(), operators=ops, operators_sum_us=8.0,
        operators_plain_us=10.0, units=by_unit(ops), energy=Energy(reason="no counters here"),
    )


def printed(one, other=None):
    console = Console(file=io.StringIO(), width=200, highlight=False)
    profiles.show(one, console)
    if other:
        profiles.show_changes(one, other, console=console)
    return console.file.getvalue()


def test_units_energy_and_the_sum_stand_in_the_text():
    lines = [" ".join(line.split()) for line in printed(profiled()).splitlines()]
    assert "XNNPACK 1 6.00 75.0 %" in lines and "builtin 1 2.00 25.0 %" in lines
    assert "energy unavailable (no counters here)" in lines
    assert any(line.startswith("2 operators add up to 8.00 µs, 80 % of the 10.00 µs") for line in lines)


def test_names_from_files_and_devices_steer_neither_rich_nor_the_terminal():
    bad = profiled(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    facts = replace(bad.facts, name=HOSTILE, runtime=HOSTILE, system=HOSTILE)
    text = printed(replace(bad, file=HOSTILE, facts=facts, notes=(HOSTILE,)), profiled())
    assert "\x1b" not in text and text.count("[bold]x[/bold]") >= 8
