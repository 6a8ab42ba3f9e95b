"""What the device is, as far as latency depends on it, and whether it slowed down meanwhile."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from pathlib import Path

FEATURES = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "amx_int8",
            "asimd", "asimddp", "i8mm", "fphp")
SLOWED = 1.05               # the fixed arithmetic took this much longer after than before
_CPUS = Path("/sys/devices/system/cpu")
_ARM_PARTS = {              # "CPU part" of /proc/cpuinfo, implementer 0x41
    "0xd03": "Cortex-A53", "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73", "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0c": "Neoverse-N1", "0xd0d": "Cortex-A77",
    "0xd41": "Cortex-A78", "0xd44": "Cortex-X1", "0xd46": "Cortex-A510", "0xd47": "Cortex-A710", "0xd40": "Neoverse-V1",
}


def facts() -> dict[str, object]:
    """The fields of `DeviceFacts` that the system tells, read now."""
    model, flags = processor()
    warmest = _temperature()
    return {
        "name": _text(Path("/proc/device-tree/model")) or model,
        "system": _system(),
        "processor": model,
        "features": [f for f in FEATURES if f in flags],
        "cores": os.cpu_count() or 0,
        "governor": _text(_CPUS / "cpu0/cpufreq/scaling_governor"),
        "frequency_khz": _frequencies(),
        **({} if warmest is None else {"temperature_c": warmest}),
    }


def processor() -> tuple[str, frozenset[str]]:
    """(name, feature flags) of the first core as Linux tells them.

    Cores of several kinds: the name lists each kind once.
    """
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return platform.processor() or platform.machine(), frozenset()
    fields: dict[str, str] = {}
    parts: list[str] = []
    for line in file.read_text().splitlines():
        key, _, value = (piece.strip() for piece in line.partition(":"))
        fields.setdefault(key, value)
        if key == "CPU part":
            part = _ARM_PARTS.get(value, f"ARM part {value}")
            if part not in parts:
                parts.append(part)
    name = fields.get("model name") or " + ".join(parts) or "unknown"
    return name, frozenset((fields.get("flags") or fields.get("Features", "")).split())


def arithmetic_us(repeats: int = 30) -> float:
    """Shortest time of a fixed piece of arithmetic that stays in the nearest cache, in microseconds.

    The shortest of many, so that another program's time slice does not look like a slower clock.
    """
    block = bytes(range(256)) * 64          # 16 KiB, hashed 16 times: a tenth of a millisecond and up
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter_ns()
        for _ in range(16):
            hashlib.sha256(block).digest()
        best = min(best, (time.perf_counter_ns() - start) / 1e3)
    return best


def pin(cpus: list[int]) -> str:
    """Keep this process on these processors; "" or why it is not."""
    if not hasattr(os, "sched_setaffinity"):
        return "affinity was not set: this system cannot pin a process"
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as err:
        return f"affinity was not set: processors {cpus}: {err.strerror}"
    return ""


def allowed() -> list[int]:
    """Processors that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _system() -> str:
    release = Path("/etc/os-release")
    pretty = ""
    if release.exists():
        for line in release.read_text(errors="replace").splitlines():
            if line.startswith("PRETTY_NAME="):
                pretty = line.partition("=")[2].strip().strip('"') + ", "
    return f"{pretty}{platform.system()} {platform.release()} {platform.machine()}"


def _frequencies() -> list[int]:
    found = []
    for core in range(os.cpu_count() or 0):
        text = _text(_CPUS / f"cpu{core}/cpufreq/scaling_cur_freq")
        if text.isdigit():
            found.append(int(text))
    return found


def _temperature() -> float | None:
    zones = [_text(zone) for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*/temp"))]
    degrees = [int(text) / 1000 for text in zones if text.lstrip("-").isdigit()]
    return max(degrees, default=None)


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip().strip("\0")
    except OSError:
        return ""
