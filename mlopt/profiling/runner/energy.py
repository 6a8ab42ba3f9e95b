"""Energy that the system counted while inferences were timed: a PC's RAPL domains, a phone's power rails.

Both are counters of the whole part, whatever ran on it, so they are an upper bound for the model on a quiet device.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")
_IIO = Path("/sys/bus/iio/devices")
_LEAST_SECONDS = 0.02       # RAPL's counters move every millisecond: 5 % of that
_RAIL = re.compile(r"\[([^\]]+)\],\s*(\d+)")        # "CH3(T=81234)[VDD_CPU_BIG],5182736", in microwatt-seconds


class Meter:
    """Reads the counters when it is made and again at `stop`."""

    def __init__(self, powercap: Path = _POWERCAP, iio: Path = _IIO) -> None:
        self._places = powercap, iio
        self._before, self._reason = counters(powercap, iio)
        self._start = time.perf_counter()

    def stop(self, inferences: int) -> dict[str, str]:
        """For `extra` of a result: the energy of each part since the start, or why there is none."""
        seconds = time.perf_counter() - self._start
        after, reason = counters(*self._places)
        why = self._reason or reason
        if not why and seconds < _LEAST_SECONDS:
            why = f"the timed runs took {1e3 * seconds:.0f} ms, and the counters need {1e3 * _LEAST_SECONDS:.0f}"
        if why or not inferences:
            return {"energy_unavailable": why or "no run was timed"}
        used = {}
        for name, (first, wraps_at) in self._before.items():
            if name in after:
                counted = after[name][0] - first
                used[name] = counted if counted >= 0 else counted + wraps_at
        return {"energy_uj": json.dumps(used), "energy_seconds": f"{seconds:.6f}", "energy_inferences": str(inferences)}


def counters(powercap: Path, iio: Path) -> tuple[dict[str, tuple[int, int]], str]:
    """({part: (microjoules so far, where the counter starts again)}, "") or ({}, why not)."""
    found: dict[str, tuple[int, int]] = {}
    refused = ""
    for zone in sorted(powercap.glob("intel-rapl:*")):        # AMD's too; the mmio zones count the same again
        try:
            name = (zone / "name").read_text().strip()
            if name.startswith("package") or name == "dram":    # core and uncore are parts of a package, psys holds all
                label = name if name.startswith("package") else f"{name} {zone.name.split(':')[1]}"
                wraps_at = int((zone / "max_energy_range_uj").read_text())
                found[label] = int((zone / "energy_uj").read_text()), wraps_at
        except PermissionError:
            refused = f"{zone / 'energy_uj'} is readable by root alone"
        except (OSError, ValueError) as err:
            refused = f"{zone / 'energy_uj'} cannot be read: {err}"
    for rails in sorted(iio.glob("iio:device*/energy_value")):
        try:
            for name, value in _RAIL.findall(rails.read_text()):
                found[name] = int(value), 2**64
        except OSError as err:
            refused = f"{rails} cannot be read: {err.strerror}"
    if found:
        return found, ""
    return {}, refused or "this device offers no RAPL domains and no power rails"
