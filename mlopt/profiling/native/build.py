"""The runner, the counting plugin and LiteRT's library, ready to run: built or fetched at first use, kept in the cache.

Each lies in a folder named by a digest of all that it was made from, which appears by one rename: two processes that
build at once do not disturb each other, and a changed source or compiler builds again.
"""

import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mlopt import extras, files
from mlopt.cache import Cache
from mlopt.errors import install_command
from mlopt.profiling.target import TargetUnusable

SOURCES = Path(__file__).parent
RUNNER_VERSION = "native 1"                     # VERSION in runner.c

# Versions of LiteRT whose C interface litert.h was checked against, on both processors -> sha256 of the aarch64 wheel
# for CPython 3.11 (only its library is used, which is the same for every Python).
KNOWN_LITERT = {"2.3.0": "853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae"}

_AARCH64_WHEEL = ("--no-deps", "--only-binary=:all:", "--platform", "manylinux_2_27_aarch64", "--implementation", "cp",
                  "--python-version", "3.11")
_WHEEL_VARIABLE = "MLOPT_AARCH64_WHEEL"         # a wheel that was fetched before, for machines without a network
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")
_LINKED = ("-ldl", "-lm", "-Wl,-z,now")         # bound at the start, or the first counted inference pays for it
_DEADLINE_S = 120.0
_FETCH_S = 300.0


def litert_version(target: str) -> str:
    """The installed LiteRT's version, when it is one whose C interface we know."""
    version = extras.version("ai-edge-litert")
    if not version:
        raise TargetUnusable(target, "LiteRT is not installed", install_command("tflite"))
    if version not in KNOWN_LITERT:
        raise TargetUnusable(
            target, f"the C interface of LiteRT {version} has not been checked against our runner",
            f"Install ai-edge-litert {' or '.join(KNOWN_LITERT)}.",
        )
    return version


def host_library(target: str = "host") -> Path:
    """`libLiteRt.so` of the installed wheel, for this machine."""
    litert_version(target)
    spec = importlib.util.find_spec("ai_edge_litert")
    library = Path(spec.origin).parent / "libLiteRt.so" if spec and spec.origin else None
    if library is None or not library.exists():
        raise TargetUnusable(target, "the installed ai-edge-litert has no libLiteRt.so", "Install its Linux wheel.")
    return library


def aarch64_library(target: str = "aarch64") -> Path:
    """`libLiteRt.so` of the aarch64 wheel of the installed version; fetched once with `pip download`."""
    version = litert_version(target)
    digest = KNOWN_LITERT[version]

    def fetch(folder: Path) -> None:
        named = os.environ.get(_WHEEL_VARIABLE)
        wheel = Path(named).expanduser() if named else _download(version, folder / "wheel", target)
        if not wheel.is_file() or files.digest(wheel) != digest:
            raise TargetUnusable(
                target, f"{wheel} is not the aarch64 wheel of ai-edge-litert {version} for Python 3.11",
                f"Its sha256 must be {digest}.",
            )
        with zipfile.ZipFile(wheel) as packed:
            (folder / "libLiteRt.so").write_bytes(packed.read("ai_edge_litert/libLiteRt.so"))
        shutil.rmtree(folder / "wheel", ignore_errors=True)

    return _kept("litert-aarch64", digest, fetch) / "libLiteRt.so"


def _download(version: str, folder: Path, target: str) -> Path:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--dest", str(folder),
               *_AARCH64_WHEEL, f"ai-edge-litert=={version}"]
    done = finished(command, target, timeout_s=_FETCH_S)
    wheels = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    if done.returncode or len(wheels) != 1:
        raise TargetUnusable(
            target, f"the aarch64 wheel of LiteRT {version} could not be fetched: {last_line(done.stderr)}",
            f"Fetch it with `pip download {' '.join(_AARCH64_WHEEL)} "
            f"ai-edge-litert=={version}` where there is a network, and name the file in {_WHEEL_VARIABLE}.",
        )
    return wheels[0]


def host_runner(target: str = "host") -> Path:
    """The runner that measures on this machine."""
    return _built("runner", ("runner.c",), _host_compiler(target), target, *_LINKED)


def aarch64_runner(target: str = "aarch64") -> Path:
    """The runner for a 64-bit ARM Linux with glibc 2.34 or later."""
    return _built("runner", ("runner.c",), _arm_compiler(target), target, *_LINKED)


def host_counter(target: str = "host") -> Path:
    """The runner with a clock that stands still, so that counts do not depend on the time of day."""
    return _built("counter", ("runner.c", "still_clock.c"), _host_compiler(target), target, *_LINKED, "-rdynamic")


def aarch64_counter(target: str = "aarch64") -> Path:
    return _built("counter", ("runner.c", "still_clock.c"), _arm_compiler(target), target, *_LINKED, "-rdynamic")


def count_plugin(interface: int, target: str) -> Path:
    """The plugin that counts instructions, for a qemu that accepts plugins of that interface number."""
    flags = ("-shared", "-fPIC", f"-DPLUGIN_INTERFACE={interface}")
    return _built("count", ("count.c",), _host_compiler(target), target, *flags)


def _host_compiler(target: str) -> str:
    return program("cc", target, "a C compiler: apt-get install gcc libc6-dev")


def _arm_compiler(target: str) -> str:
    if platform.machine() == "aarch64":
        return _host_compiler(target)
    return program("aarch64-linux-gnu-gcc", target, "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross")


def _built(name: str, sources: Sequence[str], compiler: str, target: str, *flags: str) -> Path:
    whole = hashlib.sha256("\0".join([*_FLAGS, *sources, *flags, compiler_facts(compiler, target)]).encode())
    for source in sorted(SOURCES.glob("*.[ch]")):
        whole.update(source.name.encode() + b"\0" + source.read_bytes())

    def compile_it(folder: Path) -> None:
        command = [compiler, *_FLAGS, *(str(SOURCES / source) for source in sources), "-o", str(folder / name), *flags]
        done = finished(command, target, timeout_s=_DEADLINE_S)
        if done.returncode:
            raise TargetUnusable(target, f"{compiler} could not build {name}:\n{done.stderr.strip()}")

    return _kept(f"native-{name}", whole.hexdigest(), compile_it) / name


@functools.cache
def compiler_facts(compiler: str, target: str) -> str:
    """Version and machine that a compiler names."""
    return "\n".join(finished([compiler, flag], target, timeout_s=_DEADLINE_S).stdout for flag in
                     ("--version", "-dumpmachine"))


def _kept(name: str, digest: str, make: Callable[[Path], None]) -> Path:
    folder = Cache().root / f"{name}-{digest[:40]}"
    if folder.is_dir():
        os.utime(folder)
    else:
        with files.new_folder(folder) as temporary:
            make(temporary)
    return folder


def program(name: str, target: str, remedy: str) -> str:
    """Path of an installed program; otherwise `TargetUnusable`, with what to install."""
    path = shutil.which(name)
    if path is None:
        raise TargetUnusable(target, f"`{name}` is not installed", f"It needs {remedy}.")
    return path


def finished(
    command: list[str], target: str, *, timeout_s: float, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end, output kept as text; `TargetUnusable` when it takes longer than `timeout_s`."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, cwd=cwd, env=env, check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as err:
        raise TargetUnusable(target, f"`{Path(command[0]).name}` did not end within {timeout_s:g} s") from err


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
