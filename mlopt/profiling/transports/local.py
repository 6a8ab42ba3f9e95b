"""The machine in front of us, through the same four verbs: what a device does is tried here first."""

import os
from collections.abc import Sequence
from pathlib import Path

from mlopt.profiling.contract import DeviceFacts
from mlopt.profiling.target import Ran, TargetUnusable
from mlopt.profiling.transports import facts, shell
from mlopt.profiling.transports.call import Called, call
from mlopt.profiling.transports.marker import checked_path, tail


class LocalTransport:
    """Commands run through /bin/sh as this user, with the same marks and limits as on a device."""

    name = "host"

    def push(self, local: Path, remote: str) -> None:
        """Copy `local` to the absolute path `remote`."""
        content = local.read_bytes()
        try:
            Path(checked_path(remote)).write_bytes(content)
        except OSError as err:
            raise shell.refused(self.name, "write", remote, err.strerror or str(err)) from err

    def pull(self, remote: str, local: Path) -> None:
        """Copy the absolute path `remote` to `local`, whole or not at all."""
        try:
            content = Path(checked_path(remote)).read_bytes()
        except OSError as err:
            raise shell.refused(self.name, "read", remote, err.strerror or str(err)) from err
        shell.keep(local, content)

    def run(self, command: Sequence[str], *, timeout_s: float) -> Ran:
        """Run and wait; past `timeout_s` the command's whole session is killed."""
        return shell.run_marked(
            self.name, command, timeout_s=timeout_s, shell=self._shell, diagnose=self._diagnose, here=True
        )

    def facts(self) -> DeviceFacts:
        """The machine as it names itself."""
        seen, _ = shell.finished(
            self.name, facts.SCRIPT, timeout_s=30, shell=self._shell, diagnose=self._diagnose, here=True
        )
        return facts.linux_facts(facts.sections(seen.out.decode("utf-8", "replace")))

    def _shell(self, script: str, timeout_s: float) -> Called:
        return call(["/bin/sh", "-c", script], timeout_s=timeout_s, env=dict(os.environ))

    def _diagnose(self, called: Called) -> TargetUnusable:
        return TargetUnusable(self.name, f"/bin/sh does not work: {tail(called.err) or called.status}")
