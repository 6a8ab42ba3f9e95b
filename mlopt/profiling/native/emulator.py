"""qemu-user as a 64-bit ARM Linux board: which processors, how to start it, and what its root folder holds."""

import functools
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from mlopt import run_folder
from mlopt.profiling.native import build
from mlopt.profiling.target import TargetUnusable

CORES = ("cortex-a72", "cortex-a76")
NAMES = {"cortex-a72": "Cortex-A72", "cortex-a76": "Cortex-A76"}

_PARTS = {"cortex-a72": "0xd08", "cortex-a76": "0xd0b"}      # ARM's part numbers, as in the processor's MIDR register
_FEATURES = {
    "cortex-a72": "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid",
    "cortex-a76": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
}
_LIBRARIES = Path("/usr/aarch64-linux-gnu/lib")              # Debian's and Ubuntu's cross packages
_NEEDED = {"ld-linux-aarch64.so.1": "libc6-arm64-cross", "libc.so.6": "libc6-arm64-cross",
           "libstdc++.so.6": "libstdc++6-arm64-cross", "libgcc_s.so.1": "libgcc-s1-arm64-cross"}
_INTERFACES = (1, 2, 3, 4, 5)                                # of plugins; which one a qemu accepts is found by trying
_PROBE_S = 60.0


@dataclass(frozen=True)
class Qemu:
    path: str
    version: str

    def command(self, folder: Path, core: str, target: str, plugin: str = "") -> list[str]:
        """The start of a command that runs an aarch64 program on `core`; its root is made inside `folder`."""
        root = make_root(folder / "root", core, target)
        return [self.path, "-cpu", core, "-L", root.name, *(("-plugin", plugin) if plugin else ())]


def find(target: str) -> Qemu:
    """The installed qemu-aarch64."""
    path = build.program("qemu-aarch64", target, "apt-get install qemu-user (not qemu-user-static: no plugins in it)")
    said = build.finished([path, "--version"], target, timeout_s=_PROBE_S).stdout
    version = re.search(r"version ([\d.]+)", said)
    if version is None:
        raise TargetUnusable(target, f"{path} does not tell its version: {build.last_line(said)}")
    return Qemu(path, version.group(1))


def features(core: str) -> tuple[str, ...]:
    """What such a processor can do, in the kernel's words; "asimddp" is the 8-bit dot product."""
    return tuple(_FEATURES[core].split())


def check_libraries(target: str) -> None:
    """Raise `TargetUnusable`, with the packages to install, when ARM libraries are absent."""
    absent = sorted({package for name, package in _NEEDED.items() if not (_LIBRARIES / name).exists()})
    if absent:
        raise TargetUnusable(target, f"the ARM libraries in {_LIBRARIES} are not there",
                             f"apt-get install {' '.join(absent)}")


def make_root(root: Path, core: str, target: str) -> Path:
    """What the emulated program sees below `/`: ARM libraries, and the kernel's description of such a processor.

    LiteRT's processor detection crashes on the x86 texts that it would otherwise read through the emulator.
    """
    check_libraries(target)
    cpu = root / "sys/devices/system/cpu"
    topology = cpu / "cpu0/topology"
    topology.mkdir(parents=True)
    (root / "proc").mkdir()
    (root / "lib").symlink_to(_LIBRARIES)
    for name in ("possible", "present"):
        (cpu / name).write_text("0\n")
    for name in ("core_id", "physical_package_id"):
        (topology / name).write_text("0\n")
    (root / "proc/cpuinfo").write_text(
        f"processor\t: 0\nBogoMIPS\t: 100.00\nFeatures\t: {_FEATURES[core]}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {_PARTS[core]}\nCPU revision\t: 3\n\n"
    )
    return root


@functools.cache
def plugin(qemu: Qemu, program: Path, target: str) -> Path:
    """Our counting plugin, built for the interface that this qemu accepts; `program` is started to find that out."""
    said = ""
    for interface in _INTERFACES:
        built = build.count_plugin(interface, target)
        with run_folder.temporary() as folder:
            shutil.copy(built, folder / "count.so")
            command = qemu.command(folder, CORES[0], target, "./count.so,out=counts")
            done = build.finished([*command, str(program)], target, timeout_s=_PROBE_S, cwd=folder)
            counts = folder / "counts"
            if counts.exists() and counts.read_text() == "end\n":
                return built
            said = build.last_line(done.stderr)
    raise TargetUnusable(
        target, f"qemu-aarch64 {qemu.version} does not load our counting plugin: {said}",
        "apt-get install qemu-user: the static package has no plugins.",
    )
