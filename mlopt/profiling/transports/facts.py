"""What a Linux or Android device says about itself, read by one shell line and parsed here."""

import re
from collections import Counter
from collections.abc import Mapping

from mlopt.profiling.contract import DeviceFacts

_FEATURES = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "amx_int8",
             "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "fphp", "sve", "sve2", "sme", "neon", "vfpv4",
             "rvv", "lsx", "lasx")

# CPU parts of implementer 0x41 as /proc/cpuinfo numbers them (MIDR_EL1 bits 15:4, Arm's technical reference manuals)
_ARM_PARTS = {
    "0xc07": "Cortex-A7", "0xc08": "Cortex-A8", "0xc09": "Cortex-A9", "0xc0f": "Cortex-A15", "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73", "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0c": "Neoverse-N1", "0xd0d": "Cortex-A77",
    "0xd40": "Neoverse-V1", "0xd41": "Cortex-A78", "0xd44": "Cortex-X1", "0xd46": "Cortex-A510",
    "0xd47": "Cortex-A710", "0xd48": "Cortex-X2", "0xd49": "Neoverse-N2", "0xd4d": "Cortex-A715",
    "0xd4e": "Cortex-X3", "0xd80": "Cortex-A520", "0xd81": "Cortex-A720", "0xd82": "Cortex-X4",
}

SCRIPT = """
s() { printf '\\n@@%s\\n' "$1"; }
s uname; uname -srm
s os; sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null
s model; tr -d '\\000' < /proc/device-tree/model 2>/dev/null
s cpuinfo; cat /proc/cpuinfo 2>/dev/null
s governor; cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null
s khz; i=0; while [ -d /sys/devices/system/cpu/cpu$i ]; do
cat /sys/devices/system/cpu/cpu$i/cpufreq/scaling_cur_freq 2>/dev/null; i=$((i+1)); done
s zones; cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null
s end
""".strip()


def sections(printed: str) -> dict[str, str]:
    r"""Split what `SCRIPT` printed.

    >>> sections("\n@@uname\nLinux 6.1 aarch64\n\n@@end\n")
    {'uname': 'Linux 6.1 aarch64', 'end': ''}
    """
    parts = re.split(r"^@@(\w+)$", printed, flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def linux_facts(parts: Mapping[str, str]) -> DeviceFacts:
    """The facts of a board from the sections of `SCRIPT`; what the device does not tell stays empty."""
    cpuinfo = parts.get("cpuinfo", "")
    processor = processor_name(cpuinfo)
    system = ", ".join(text for text in (parts.get("os", "").strip('"'), parts.get("uname", "")) if text)
    return DeviceFacts(
        name=parts.get("model", "") or processor or parts.get("uname", "") or "unknown",
        system=system,
        processor=processor,
        features=features(cpuinfo),
        cores=len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)),
        governor=parts.get("governor", ""),
        frequency_khz=tuple(int(word) for word in parts.get("khz", "").split() if word.isdigit()),
        temperature_c=hottest_zone(parts.get("zones", "")),
    )


def processor_name(cpuinfo: str) -> str:
    r"""The processor as x86 names it, or the ARM cores by their part numbers.

    >>> processor_name("CPU implementer : 0x41\nCPU part : 0xd08\n" * 4)
    '4 x Cortex-A72'
    """
    if named := re.search(r"^model name\s*:\s*(\S.*)$", cpuinfo, re.MULTILINE):
        return named[1].strip()
    parts = re.findall(r"^CPU part\s*:\s*(\S+)$", cpuinfo, re.MULTILINE)
    makers = re.findall(r"^CPU implementer\s*:\s*(\S+)$", cpuinfo, re.MULTILINE)
    if not parts or len(parts) != len(makers):
        hardware = re.search(r"^(?:Hardware|uarch)\s*:\s*(\S.*)$", cpuinfo, re.MULTILINE)
        return hardware[1].strip() if hardware else ""
    names = Counter(
        _ARM_PARTS.get(part, f"Arm part {part}") if maker == "0x41" else f"implementer {maker} part {part}"
        for maker, part in zip(makers, parts, strict=True)
    )
    return " + ".join(f"{count} x {name}" for name, count in names.items())


def features(cpuinfo: str) -> tuple[str, ...]:
    """The flags that decide which kernels a runtime picks."""
    named = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    flags = frozenset(named[1].split()) if named else frozenset()
    return tuple(flag for flag in _FEATURES if flag in flags)


def hottest_zone(zones: str) -> float:
    r"""Degrees Celsius from the lines of thermal_zone*/temp, in thousandths; nan where none is sane.

    >>> hottest_zone("48200\n-40000\n51500\n")
    51.5
    """
    degrees = [int(word) / 1000 for word in zones.split() if re.fullmatch(r"-?\d+", word)]
    return max((d for d in degrees if 0 < d < 150), default=float("nan"))
