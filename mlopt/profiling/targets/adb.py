"""An Android device by adb, measured by our native runner, for Android has no Python of its own.

The runner and LiteRT's library are built for Linux with glibc, which Android is not. They run there because they bring
their own: the kit holds glibc's loader and libraries, and the loader starts the runner without touching Android's. The
kit stays in a folder of the device, so that only its first measurement pushes the 11 MB. Times, phases, heap, peak and
PSS all come from that runner. What this way cannot show is an app's view: another scheduling group, an accelerator's
driver, the memory of a Java process. An app's benchmark activity speaks the same request and result, and
`AdbTransport.pss_bytes` reads its memory.
"""

import platform
from dataclasses import replace
from pathlib import Path

from mlopt.convert.protocol import Place
from mlopt.profiling.contract import DeviceFacts, RunRequest, RunResult
from mlopt.profiling.formats import measurable
from mlopt.profiling.native import build
from mlopt.profiling.target import TargetUnusable
from mlopt.profiling.targets.remote import Kit, completed, measure_on, options
from mlopt.profiling.transports.adb import AdbTransport
from mlopt.profiling.transports.android import THERMAL_STATUS
from mlopt.profiling.transports.marker import checked_path

_TMP = "/data/local/tmp"            # where Android lets the shell's user store and start programs
_LIBRARIES = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libstdc++.so.6",
              "libgcc_s.so.1")
_CROSS = Path("/usr/aarch64-linux-gnu/lib")             # Debian's and Ubuntu's cross packages
_NATIVE = tuple(Path(folder) for folder in ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/lib",
                                            "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"))
_ABIS = {"arm64-v8a": ("aarch64", "ld-linux-aarch64.so.1"), "x86_64": ("x86_64", "ld-linux-x86-64.so.2")}
_INSTALL = "apt-get install libc6-arm64-cross libstdc++6-arm64-cross libgcc-s1-arm64-cross"


class AdbTarget:
    """`where` is a serial of `adb devices` or host:port, with settings behind it: `ABC123,folder=/data/local/tmp/me`.

    Only TFLite files are measured. Operators are not profiled, and the runner says so in the notes.
    """

    def __init__(self, where: str, *, server: str = "", kit: Kit | None = None) -> None:
        serial, settings = options("adb", where, ("folder",))
        try:
            self.transport = AdbTransport(serial, server=server)
            self._folder = checked_path(settings.get("folder", _TMP))
        except ValueError as err:
            raise TargetUnusable(f"adb:{where}", str(err)) from err
        self.name = self.transport.name
        self._kit = kit

    def facts(self) -> DeviceFacts:
        """The device as it names itself."""
        return self.transport.facts()

    def measure(self, file: Path, request: RunRequest, beside: Path | None = None) -> RunResult:
        """One fresh process on the device, with the thermal service's word before and after in `extra`."""
        if request.format not in measurable(Place.NATIVE):
            able = " and ".join(measurable(Place.NATIVE))
            raise TargetUnusable(self.name, f"it cannot run {request.format} files", f"Phones measure {able}")
        if self._kit is None:
            self._kit = self._kit_for(self._abi())
        before = self.transport.thermal()
        result = measure_on(self.transport, file, request, base=self._folder, kit=self._kit, kit_stays=True,
                            beside=beside)
        after = self.transport.thermal()
        result = self._completed(result, file, request)
        notes = list(result.notes)
        if after.throttling or before.throttling:
            notes.append(f"thermal status {before.status} before and {after.status} after: the device holds its "
                         "processors back; let it cool down and measure again")
        elif before.status not in THERMAL_STATUS:
            notes.append("the device tells no thermal status")
        extra = {**result.extra, "thermal_before": before.status, "thermal_after": after.status}
        return replace(result, notes=tuple(notes), extra=extra)

    def _completed(self, result: RunResult, file: Path, request: RunRequest) -> RunResult:
        result = completed(result, self.facts())
        memory = result.memory
        if request.memory and memory.file < 0:
            memory = replace(memory, file=file.stat().st_size)
        runtime = result.facts.runtime or f"LiteRT {build.litert_version(self.name)}"
        return replace(result, facts=replace(result.facts, runtime=runtime), memory=memory)

    def _abi(self) -> str:
        return self.transport.run(["getprop", "ro.product.cpu.abi"], timeout_s=30.0).out.strip()

    def _kit_for(self, abi: str) -> Kit:
        """Runner, LiteRT and glibc for the device's processor."""
        if abi not in _ABIS:
            raise TargetUnusable(self.name, f"its processor interface is {abi or 'unknown'}",
                                 f"There is a runner for {' and '.join(_ABIS)}")
        machine, loader = _ABIS[abi]
        if machine == "aarch64":
            runner, library = build.aarch64_runner(self.name), build.aarch64_library(self.name)
        elif machine == platform.machine():
            runner, library = build.host_runner(self.name), build.host_library(self.name)
        else:
            raise TargetUnusable(self.name, f"no runner for {abi} can be built on {platform.machine()}")
        folders = _NATIVE if machine == platform.machine() else (_CROSS,)
        files = {"runner": runner, "libLiteRt.so": library}
        for name in (loader, *_LIBRARIES):
            files[name] = self._library(name, folders)
        return Kit(
            files=files, programs=(loader, "runner"),
            command=lambda kit, asked, answer: (
                f"{kit}/{loader}", "--library-path", kit, f"{kit}/runner", f"{kit}/libLiteRt.so", asked, answer
            ),
        )

    def _library(self, name: str, folders: tuple[Path, ...]) -> Path:
        for folder in folders:
            if (folder / name).is_file():
                return (folder / name).resolve()
        raise TargetUnusable(self.name, f"the runner needs {name}, which is not in {folders[0]}", _INSTALL)
