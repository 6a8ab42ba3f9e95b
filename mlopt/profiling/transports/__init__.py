"""Roads to a device: over the real `ssh` and `adb` programs, and on this machine. No device library is needed."""

from mlopt.profiling.transports.adb import AdbTransport
from mlopt.profiling.transports.local import LocalTransport
from mlopt.profiling.transports.ssh import SshTransport

__all__ = ["AdbTransport", "LocalTransport", "SshTransport"]
