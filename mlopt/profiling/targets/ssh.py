"""A Linux board by ssh, measured by our Python runner with the runtime that is installed there."""

from pathlib import Path

from mlopt import plugins, run_folder
from mlopt.convert.protocol import Place
from mlopt.profiling.contract import DeviceFacts, RunRequest, RunResult
from mlopt.profiling.formats import measurable
from mlopt.profiling.target import Ran, TargetUnusable
from mlopt.profiling.targets.bundle import runner_command, write_runner
from mlopt.profiling.targets.remote import Kit, measure_on, options
from mlopt.profiling.transports.marker import checked_path
from mlopt.profiling.transports.ssh import SshTransport

_LEAST_PYTHON = (3, 9)          # what the runner is written for
_PROBE = ("import sys, importlib.util as u; "
          "print('@', *sys.version_info[:2], *[n for n in sys.argv[1:] if u.find_spec(n)])")


class SshTarget:
    """`where` is an ssh destination with settings behind it: `pi4,python=/home/pi/ml/bin/python,folder=/data/tmp`.

    `python` is the interpreter that has the runtime, python3 unless named. `folder` takes the files of a measurement
    while it lasts, /tmp unless named.
    """

    def __init__(self, where: str, *, config: Path | None = None) -> None:
        destination, settings = options("ssh", where, ("python", "folder"))
        try:
            self.transport = SshTransport(destination, config=config)
            self._folder = checked_path(settings.get("folder", "/tmp"))
        except ValueError as err:
            raise TargetUnusable(f"ssh:{where}", str(err)) from err
        self.name = self.transport.name
        self._python = settings.get("python", "python3")
        self._checked: set[str] = set()

    def facts(self) -> DeviceFacts:
        """The board as it names itself."""
        return self.transport.facts()

    def measure(self, file: Path, request: RunRequest, beside: Path | None = None) -> RunResult:
        """One fresh process on the board. What is missing there is `TargetUnusable`, with the command to install it."""
        self._check(request.format)
        with run_folder.temporary() as here:
            kit = Kit(
                files={"runner.zip": write_runner(here / "runner.zip")},
                command=lambda kit, asked, answer: runner_command(self._python, f"{kit}/runner.zip", asked, answer),
            )
            return measure_on(self.transport, file, request, base=self._folder, kit=kit, beside=beside)

    def close(self) -> None:
        """End the shared connection."""
        self.transport.close()

    def _check(self, format: str) -> None:
        """Once per format: the interpreter is there, young enough, and has the runtime."""
        if format not in measurable(Place.BOARD):
            raise TargetUnusable(self.name, f"it cannot run {format} files",
                                 f"Boards measure {' and '.join(measurable(Place.BOARD))}")
        if format in self._checked:
            return
        runtime = plugins.load_converter(format).runs
        ran = self.transport.run([self._python, "-c", _PROBE, runtime.module, "numpy"], timeout_s=60.0)
        found = [line.split() for line in ran.out.splitlines() if line.startswith("@ ")]
        if ran.status != 0 or not found:
            raise self._no_python(ran)
        major, minor, *modules = found[-1][1:]
        if (int(major), int(minor)) < _LEAST_PYTHON:
            raise TargetUnusable(self.name, f"{self._python} there is Python {major}.{minor}",
                                 f"The runner needs {_LEAST_PYTHON[0]}.{_LEAST_PYTHON[1]} or later")
        package = runtime.installed_as
        missing = [name for name in (runtime.module, "numpy") if name not in modules]
        if missing:
            raise TargetUnusable(
                self.name, f"{self._python} there (Python {major}.{minor}) has no {' and no '.join(missing)}",
                f"On the board: python3 -m venv ~/mlopt && ~/mlopt/bin/pip install {package}. Then name its "
                f"interpreter: {self.name},python=/home/USER/mlopt/bin/python",
            )
        self._checked.add(format)

    def _no_python(self, ran: Ran) -> TargetUnusable:
        if ran.status in (126, 127):
            return TargetUnusable(self.name, f"there is no interpreter {self._python} on it",
                                  f"Install Python there, or name it: {self.name},python=/PATH/TO/python")
        words = (ran.err or ran.out).strip().splitlines()
        return TargetUnusable(self.name, f"{self._python} there does not work: {words[-1] if words else ran.status}")
