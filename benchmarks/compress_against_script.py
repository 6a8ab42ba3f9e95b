"""Wall time of `mlopt compress` against a hand-written sequential script that makes the same files.

    uv pip install --group benchmarks --constraints constraints.txt
    MLOPT_DATA=folder python benchmarks/compress_against_script.py [ROUNDS]

`MLOPT_DATA` holds ic_resnet8.h5 and cifar10_jpeg_train.parquet. Both start with nothing cached; mlopt also runs every
file, searches ranges, times and reports, the script does none of that. Prints each round and the ratio of the medians.
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
from PIL import Image

COUNT = 512        # what mlopt calibrates on


def main() -> None:
    data = Path(os.environ["MLOPT_DATA"])
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    model = data / "ic_resnet8.h5"
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "calibration.npz"
        write_samples(data / "cifar10_jpeg_train.parquet", samples)
        for number in range(rounds):
            work = Path(folder) / str(number)
            work.mkdir()
            script = [sys.executable, str(Path(__file__).with_name("hand_written.py")), str(model), str(samples)]
            tool = [str(Path(sys.executable).with_name("mlopt")), "compress", str(model), "--data", str(samples)]
            theirs.append(seconds([*script, str(work / "script")], work))
            ours.append(seconds([*tool, "--out", str(work / "mlopt"), "--max-drop", "0.5"], work))
            made, wanted = names(work / "mlopt"), names(work / "script")
            print(f"round {number + 1}: script {theirs[-1]:.1f} s for {len(wanted)} files, "
                  f"mlopt {ours[-1]:.1f} s for {len(made)} files", flush=True)
            missing = wanted - made
            if missing:
                sys.exit(f"not the same files: mlopt made no {', '.join(sorted(missing))}")
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"mlopt / script = {ratio:.2f} (medians of {rounds}: {statistics.median(ours):.1f} s / "
          f"{statistics.median(theirs):.1f} s, {os.cpu_count()} cores)")


def write_samples(parquet: Path, dest: Path) -> None:
    table = pyarrow.parquet.read_table(parquet).slice(0, 4 * COUNT)
    images = [np.asarray(Image.open(io.BytesIO(b))) for b in table["image"].to_pylist()]
    np.savez(dest, image=np.stack(images)[::2], label=np.asarray(table["label"].to_pylist())[::2])


def seconds(command: list[str], work: Path) -> float:
    environment = os.environ | {"MLOPT_CACHE": str(work / "cache")}
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


def names(folder: Path) -> set[str]:
    """format/precision of every exported file, however it is called."""
    found = set()
    for suffix in ("tflite", "onnx", "mlpackage"):
        for path in folder.rglob(f"*.{suffix}"):
            precision = path.stem.removeprefix("ic_resnet8-")
            if precision != "prepared":
                found.add(f"{suffix}/{precision}")
    return found


if __name__ == "__main__":
    main()
