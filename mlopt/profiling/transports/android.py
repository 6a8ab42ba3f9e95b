"""What an Android device says about itself: properties, the thermal service, the memory of a process."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mlopt.profiling.contract import DeviceFacts
from mlopt.profiling.transports.facts import linux_facts

_PROPERTIES = ("ro.product.manufacturer", "ro.product.model", "ro.build.version.release", "ro.build.version.sdk",
               "ro.product.cpu.abi", "ro.soc.manufacturer", "ro.soc.model", "ro.build.fingerprint")

# printed before the sections of `facts.SCRIPT`, in the same form
SCRIPT = f"""
printf '\\n@@properties\\n'; for p in {' '.join(_PROPERTIES)}; do printf '%s=%s\\n' $p "$(getprop $p)"; done
printf '\\n@@thermal\\n'; dumpsys thermalservice 2>/dev/null
printf '\\n@@android\\n'
""".strip()

# PowerManager.THERMAL_STATUS_* of the platform's documentation
THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


@dataclass(frozen=True, kw_only=True)
class Thermal:
    """The thermal service's view: one of `THERMAL_STATUS`, "" where it tells none; the hottest processor sensor."""

    status: str = ""
    hottest_c: float = float("nan")

    @property
    def throttling(self) -> bool:
        """From moderate on the platform slows the device down noticeably, as its documentation says."""
        return self.status in THERMAL_STATUS[2:]


def parse_thermal(text: str) -> Thermal:
    """Read `dumpsys thermalservice`; of the temperatures only processors count (type 0), and current ones if told.

    >>> parse_thermal("Thermal Status: 1\\n Temperature{mValue=41.5, mType=0, mName=BIG, mStatus=0}")
    Thermal(status='light', hottest_c=41.5)
    """
    status = re.search(r"Thermal Status:\s*(\d)", text)
    current = text.partition("Current temperatures")[2] or text
    degrees = [float(value) for value in re.findall(r"Temperature\{mValue=(-?[\d.]+), mType=0,", current)]
    known = int(status[1]) if status else -1
    return Thermal(
        status=THERMAL_STATUS[known] if 0 <= known < len(THERMAL_STATUS) else "",
        hottest_c=max((d for d in degrees if 0 < d < 150), default=float("nan")),
    )


def parse_pss(text: str) -> int:
    """Bytes from `dumpsys meminfo PROCESS`; -1 where there is no such process.

    >>> parse_pss("   TOTAL PSS:    31337            TOTAL RSS:    98172")
    32089088
    """
    found = re.search(r"TOTAL PSS:\s*(\d+)", text) or re.search(r"^\s*TOTAL:?\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else -1


def android_facts(parts: Mapping[str, str]) -> DeviceFacts:
    """The facts from the sections of `SCRIPT` and `facts.SCRIPT` together."""
    properties = dict(line.split("=", 1) for line in parts.get("properties", "").splitlines() if "=" in line)
    board = linux_facts(parts)
    thermal = parse_thermal(parts.get("thermal", ""))
    model, release = properties.get("ro.product.model", ""), properties.get("ro.build.version.release", "")
    chip = " ".join(word for word in (properties.get("ro.soc.manufacturer"), properties.get("ro.soc.model")) if word)
    cores = board.processor
    return dataclasses.replace(
        board,
        name=f"{model or 'unknown'}, Android {release or '?'}",
        system=", ".join(word for word in (
            f"Android {release} (API {properties.get('ro.build.version.sdk', '?')})",
            properties.get("ro.product.cpu.abi", ""), parts.get("uname", "")) if word),
        processor=f"{chip} ({cores})" if chip and cores else chip or cores,
        temperature_c=board.temperature_c if board.temperature_c == board.temperature_c else thermal.hottest_c,
    )
