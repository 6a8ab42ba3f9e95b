"""Programs that answer as a recorded phone would, for the PATH of `adb_device`."""

import shlex
from collections.abc import Mapping
from pathlib import Path

PROPERTIES = {
    "ro.product.manufacturer": "Google", "ro.product.model": "Pixel 7", "ro.build.version.release": "15",
    "ro.build.version.sdk": "35", "ro.product.cpu.abi": "arm64-v8a", "ro.soc.manufacturer": "Google",
    "ro.soc.model": "GS201", "ro.build.fingerprint": "google/panther/panther:15/AP4A.250105.002/1:user/release-keys",
    "sys.boot_completed": "1",
}

THERMAL = """\
IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 1
\tkilled: false
\tbroadcasts count: -1
Thermal Status: 2
Cached temperatures:
\tTemperature{mValue=31.2, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL AIDL 3  connected: yes
Current temperatures from HAL:
\tTemperature{mValue=47.5, mType=0, mName=BIG, mStatus=0}
\tTemperature{mValue=44.25, mType=0, mName=LITTLE, mStatus=0}
\tTemperature{mValue=33.1, mType=2, mName=battery, mStatus=0}
"""

MEMINFO = """\
Applications Memory Usage (in Kilobytes):
Uptime: 123456 Realtime: 123456

** MEMINFO in pid 4711 [org.mlopt.demo] **
                   Pss  Private  Private  SwapPss      Rss     Heap     Heap     Heap
                 Total    Dirty    Clean    Dirty    Total     Size    Alloc     Free
                ------   ------   ------   ------   ------   ------   ------   ------
  Native Heap     9120     9084        0        0    10816    22528     8012    12034
  Dalvik Heap     1804     1772        0        0     7948     4661     2331     2330
        TOTAL    31337    20112     6212        0    98172    27189    10343    14364

 App Summary
                       Pss(KB)                        Rss(KB)
                        ------                         ------
         TOTAL PSS:    31337            TOTAL RSS:    98172      TOTAL SWAP PSS:        0
"""

BATTERY = "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  level: 87\n  temperature: 294\n"
LOGCAT = "--------- beginning of main\nI mlopt   : benchmark finished\n"


def write_shims(folder: Path, properties: Mapping[str, str]) -> None:
    """Put `getprop`, `dumpsys`, `am`, `logcat` and `taskset` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {**PROPERTIES, **properties}
    cases = "".join(f"{shlex.quote(key)}) echo {shlex.quote(value)};;\n" for key, value in known.items())
    listing = "".join(f"[{key}]: [{value}]\n" for key, value in known.items())
    services = {"thermalservice": THERMAL, "meminfo org.mlopt.demo": MEMINFO, "battery": BATTERY}
    answers = "".join(f"{shlex.quote(key)}) printf %s {shlex.quote(text)};;\n" for key, text in services.items())
    scripts = {
        "getprop": f'case "$1" in\n"") printf %s {shlex.quote(listing)};;\n{cases}*) echo;;\nesac\n',
        "dumpsys": f'case "$*" in\n{answers}meminfo*) echo "No process found for: $2";;\n'
                   '*) echo "Can\'t find service: $1";;\nesac\n',
        "am": 'echo "Starting: Intent { $* }"\n',
        "logcat": f"printf %s {shlex.quote(LOGCAT)}\n",
        "taskset": 'shift\nexec "$@"\n',            # Android's takes a mask in hex, which this host may not have
    }
    for name, body in scripts.items():
        path = folder / name
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(0o755)
