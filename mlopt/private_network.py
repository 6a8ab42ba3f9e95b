"""A network of a process's own, where only loopback is.

A framework's servers may listen on every interface, whatever address they are given, and ask for no password. In a
network namespace nobody else reaches them. Where the system forbids it the process stays in the network as it is; the
variable `MLOPT_PRIVATE_NETWORK` is 1 in those that are in one, and in all that they start.
"""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

VARIABLE = "MLOPT_PRIVATE_NETWORK"
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _UP_AND_RUNNING = 0x8914, 0x1 | 0x40


def enter() -> bool:
    """Move this process, which must have one thread, into a network with loopback alone; False where it may not."""
    if os.environ.get(VARIABLE) == "1":
        return True
    unshare = getattr(ctypes.CDLL(None, use_errno=True), "unshare", None)
    try:
        private = unshare is not None and _enter(unshare)
    except OSError:
        private = False
    os.environ[VARIABLE] = str(int(private))
    return private


def _enter(unshare: "ctypes._NamedFuncPointer") -> bool:
    if unshare(_CLONE_NEWNET) != 0:             # root may, and keeps its rights over other users' files
        user, group = os.getuid(), os.getgid()
        os.close(os.open("/proc/self/uid_map", os.O_WRONLY))     # fails now where this process may not write it
        if unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            return False
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_text(text)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))
    return True
