"""A seccomp filter: the kernel refuses this process every socket, and every way into another process.

It needs no privilege, no namespace and no file system, so that it works in containers too. Pairs of connected sockets
stay, since both ends of them are here.
"""

import ctypes
import errno
import os
import platform
import struct

from mlopt.sandbox.privileges import libc, no_new_privileges

_SET_FILTER, _SPECULATION_STAYS = 1, 1 << 2     # without the flag, older kernels slow all arithmetic of the process
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _PROCESSOR_AT = 0, 4                # in struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_X32 = 0x40000000                               # a second set of numbers on x86-64, which nothing of ours uses

# processor -> (its name for the kernel, number of seccomp, numbers that are refused: socket, io_uring_setup (which
# makes sockets too), ptrace, process_vm_readv, process_vm_writev, pidfd_getfd)
_PROCESSORS = {
    "x86_64": (0xC000003E, 317, (41, 425, 101, 310, 311, 438)),
    "aarch64": (0xC00000B7, 277, (198, 425, 117, 270, 271, 438)),
}


def refuse_sockets() -> bool:
    """From now on, for this thread and all that it starts; False where the system has no filter for that."""
    known = _PROCESSORS.get(platform.machine())
    if known is None or struct.calcsize("P") != 8:
        return False
    name, number, refused = known
    program = _program(name, refused)
    block = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(block))
    no_new_privileges()
    for flags in (_SPECULATION_STAYS, 0):
        if libc().syscall(number, ctypes.c_uint(_SET_FILTER), ctypes.c_uint(flags), filter_) == 0:
            return True
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES):
            raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
    return False


def _program(processor: int, refused: tuple[int, ...]) -> bytes:
    """Classic BPF; a jump counts the instructions that it leaves out."""
    refuse = 5 + len(refused)            # the place of the last instruction
    code = [
        (_LOAD, 0, 0, _PROCESSOR_AT),
        (_EQUAL, 0, refuse - 2, processor),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, refuse - 4, 0, _X32),
        *((_EQUAL, refuse - 5 - place, 0, number) for place, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
