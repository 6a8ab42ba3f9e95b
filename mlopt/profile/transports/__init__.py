"""Roads to a device: over the real `ssh` and `adb` programs, and on this machine. No device library is needed."""

from mlopt.profile.transports.adb import AdbTransport
from mlopt.profile.transports.local import LocalTransport
from mlopt.profile.transports.ssh import SshTransport

__all__ = ["AdbTransport", "LocalTransport", "SshTransport"]
