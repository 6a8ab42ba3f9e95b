"""What the workers of tests/test_worker.py are asked to do."""

import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mlopt import extras, worker
from mlopt.errors import DataMismatch


@dataclass(frozen=True, kw_only=True)
class Point:
    x: float
    name: str


def double(point: Point) -> Point:
    return Point(x=2 * point.x, name=2 * point.name)


def not_a_number() -> float:
    return float("nan")


def importable() -> dict[str, bool]:
    return {n: importlib.util.find_spec(n) is not None for n in ("tensorflow", "tf_keras", "torch", "numpy")}


def mismatch() -> None:
    raise DataMismatch("x.npz", "float32 [N, 4]", "float32 [N, 5]")


def lacks_torch() -> None:
    extras.require("torch", "opening a PyTorch model")     # hidden here, as if it were not installed


def divide_by_zero() -> float:
    return 1 / 0


def hold_a_session(file: str, seconds: float) -> float:
    """Keep an ONNX file open as the workers do that run one; how long that was. Sleeping is the point."""
    from mlopt_onnx.session import open_session

    began = time.monotonic()
    held = open_session(Path(file).read_bytes())
    time.sleep(seconds)
    del held
    return time.monotonic() - began


def write_to_a_full_disk() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


def end_by(number: int) -> None:
    print("last words", flush=True)
    os.kill(os.getpid(), number)


def allocate_too_much() -> None:
    bytearray(1 << 60)


def wait_for_ever() -> None:
    while True:
        time.sleep(60)


def count_to(last: int) -> None:
    for n in range(1, last + 1):
        worker.emit(n=n)


def ask_for(question: str) -> str:
    return worker.ask(question)


def chatter() -> int:
    print("a" * 100_000)
    print('{"result": 1}')
    return 7


def with_child(pids: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    being_written = pids.with_suffix(".new")
    being_written.write_text(f"{os.getpid()} {child.pid}")
    being_written.rename(pids)
    wait_for_ever()
