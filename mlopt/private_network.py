"""Start a program in a network of its own, where only loopback is: `python -m mlopt.private_network PROGRAM ARGUMENTS`.

TensorFlow's servers listen on every interface, whatever address they are given, and ask for no password. In a network
namespace nobody else reaches them. Where the system forbids it the program starts in the network as it is; the variable
`MLOPT_PRIVATE_NETWORK` says which, 1 or 0.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

VARIABLE = "MLOPT_PRIVATE_NETWORK"
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _UP_AND_RUNNING = 0x8914, 0x1 | 0x40


def enter() -> bool:
    """Move this process, which must have one thread, into a network with loopback alone; False where it may not."""
    user, group = os.getuid(), os.getgid()
    unshare = getattr(ctypes.CDLL(None, use_errno=True), "unshare", None)
    if unshare is None or unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(text)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))
    return True


def main() -> None:
    try:
        private = enter()
    except OSError:
        private = False
    os.environ[VARIABLE] = str(int(private))
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
