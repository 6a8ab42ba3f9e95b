"""A process that reads one source after another as a run does, and survives in the tests' place when one kills it.

Run as a script it is that process: a line of JSON in, {"source": path, "dest": folder}; a line of JSON out.
"""

import contextlib
import json
import select
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlopt.data.preparation import Preparation
from mlopt.errors import MloptError
from mlopt.model import Signature, TensorSpec
from mlopt.pipeline.workers.gathering import DataTask, gather

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", shape=(None, 4, 4, 3), dtype="float32", layout="NHWC"),),
    outputs=(TensorSpec(name="y", shape=(None, 3), dtype="float32", layout="NC"),),
)
MOST_SECONDS = 30.0


class ReadingProcess:
    """Started when it is needed, and anew after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, source: Path, dest: Path) -> Mapping[str, Any]:
        """What became of it: {"ended": "read", "refused", "escaped", "died" or "hung", "said": ...}."""
        if self._process is None:
            self._process = subprocess.Popen([sys.executable, "-W", "error", __file__],
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):          # it is dead already, which its silence tells
            self._process.stdin.write(json.dumps({"source": str(source), "dest": str(dest)}).encode() + b"\n")
            self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], MOST_SECONDS)[0]:
            self.close()
            return {"ended": "hung", "said": f"no answer in {MOST_SECONDS} s", "peak_bytes": 0}
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self.close()
            return {"ended": "died", "said": f"exit status {status}", "peak_bytes": 0}
        return json.loads(line)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()                            # type: ignore[union-attr]  # both were asked for
            self._process = None


def _answer(source: str, dest: Path) -> dict[str, Any]:
    task = DataTask(
        data=source, test=None, train=None, signature=SIGNATURE, dest=dest, limits={"calibration": 4, "test": 1000},
        seed=0, preparation=Preparation(resize=True),
    )
    try:
        gather(task)
        ended, said = "read", ""
    except MloptError as err:
        ended, said = "refused", f"{type(err).__name__}: {err}"
    except Exception:   # noqa: BLE001  # whatever got through is what the tests look for
        ended, said = "escaped", traceback.format_exc()
    return {"ended": ended, "said": said, "peak_bytes": _peak_bytes()}


def _peak_bytes() -> int:
    """The most that was resident; getrusage would count what the process that started this one held."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0        # a system without it: memory is not looked at there


def main() -> None:
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_answer(request["source"], Path(request["dest"]))), file=answers, flush=True)


if __name__ == "__main__":
    main()
