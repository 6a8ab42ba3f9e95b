"""What every worker must reach to be a Python process at all: interpreter, packages, system libraries, devices."""

import itertools
import os
import site
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/opt", "/nix/store", "/gnu/store", "/proc", "/sys",
    "/run/opengl-driver", "/run/current-system",
)
_ETC = (        # what the dynamic linker, the C library and drivers read; nothing with a secret in it
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "localtime", "timezone", "passwd", "group",
    "nsswitch.conf", "hosts", "host.conf", "resolv.conf", "gai.conf", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs",
    "ca-certificates", "mime.types", "os-release", "locale.alias", "locale.conf", "OpenCL", "vulkan", "glvnd",
    "nvidia", "nvidia-container-runtime", "nv_tegra_release", "cufile.json",
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_ACCELERATORS = ("nvidia*", "nvhost*", "nvmap", "dri", "kfd", "dxg", "accel*", "vfio")
_SHARED = Path("/dev/shm")
_FOLDERS_NAMED_IN = ("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "ROCM_PATH")


def needed(path: Iterable[str]) -> Iterator[Path]:
    """Files and folders that a worker reads whatever it does; `path` are the folders that it imports from."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *site.getsitepackages()}
    named = itertools.chain.from_iterable(os.environ.get(name, "").split(os.pathsep) for name in _FOLDERS_NAMED_IN)
    for place in {*prefixes, *path, *named, *_mapped()} - {""}:
        if not _holds_home(place):
            yield Path(place)
    yield from (Path(place) for place in _SYSTEM)
    yield from (Path("/etc", name) for name in _ETC)


def devices(*, shared: bool) -> Iterator[Path]:
    """Devices that computing needs: those that every process has, and those of accelerators.

    `shared`: memory and locks that processes share as well. They lie where those of all other programs do, so that who
    works alone does not get them.
    """
    for name in _DEVICES:
        yield Path("/dev", name)
    found = [device for pattern in _ACCELERATORS for device in Path("/dev").glob(pattern)]
    yield from found
    if found or shared:
        yield _SHARED               # drivers of accelerators share memory too


def resolved(path: Path) -> tuple[Path, ...]:
    """What is read where `path` is named: itself, and the `blobs` that the snapshot of a hub's repository links to."""
    whole = path.resolve()
    for parent in whole.parents:
        blobs = parent.parent / "blobs"
        if parent.name == "snapshots" and blobs.is_dir() and not blobs.is_symlink():
            return whole, blobs
    return (whole,)


def _mapped() -> set[str]:
    """Folders of the libraries that this process has loaded: others of the same installation lie beside them."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return set()
    files = (line.partition("/")[1] + line.partition("/")[2] for line in lines if "/" in line and ".so" in line)
    return {str(Path(file).parent) for file in files}


def _holds_home(place: str) -> bool:
    """A script that lies in the home folder puts all of it on the path."""
    return Path.home().resolve().is_relative_to(Path(place).resolve())
