"""Where files are measured: this host, a board by ssh, a phone by adb, an emulated processor."""

from mlopt import plain
from mlopt.profiling.target import Target, TargetUnusable

_KINDS = {                  # the word before the colon -> the class that takes what stands behind it
    "host": "mlopt.profiling.targets.host:HostTarget",
    "ssh": "mlopt.profiling.targets.ssh:SshTarget",
    "adb": "mlopt.profiling.targets.adb:AdbTarget",
    "emulated": "mlopt.profiling.targets.emulated:EmulatedTarget",
}
_WRITTEN = "host, ssh:HOST, adb:SERIAL, emulated:cortex-a76 or emulated:cortex-a72"


def open_target(text: str) -> Target:
    """The target as a user writes it; nothing is connected yet.

    Raises `TargetUnusable` for a name that is none.
    """
    kind, colon, rest = text.strip().partition(":")
    if kind not in _KINDS:
        raise TargetUnusable(text, "is no target that mlopt knows", f"Write {_WRITTEN}")
    if kind == "host":
        if colon:
            raise TargetUnusable(text, "names something behind host:, which is always this machine", "Write host")
        target: Target = plain.resolve(_KINDS[kind])()
        return target
    if not rest:
        raise TargetUnusable(text, f"does not say which {kind} device", f"Write {_WRITTEN}")
    target = plain.resolve(_KINDS[kind])(rest)
    return target
