"""What the shipped recipes give on a real model: bytes, accuracy, time against the plain int8 file, over several seeds.

    MLOPT_DATA=FOLDER python benchmarks/recipes.py RECIPE[,RECIPE...] [SEED,SEED...]

FOLDER holds `ic_resnet8.h5`, `cifar10_jpeg_train.parquet` and `cifar10_jpeg_test.parquet`. The source is compressed
without a recipe first; a recipe's int8 file is timed beside that run's, in turns of 2 ms in three fresh processes.
Prints JSON lines on standard output: the machine, an object a run, and at the end mean and spread for each recipe. A
run that was stopped goes on from its last checkpoint.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import mlopt
from mlopt import plain as values
from mlopt.profiling import bursts
from mlopt.sandbox import Reach
from mlopt.worker import Crew, Job

FORMAT = "tflite"


def timed(files, signature, samples):
    """Microseconds of each file, side by side."""
    with Crew() as crew:
        jobs = [
            Job(task="timing", function="mlopt.profiling.bursts:time_files",
                arguments={"format": FORMAT, "files": files, "signature": signature, "samples": samples, "seed": n},
                reach=Reach(reads=(*map(Path, files), samples)))
            for n in range(bursts.PROCESSES)
        ]
        return bursts.combined([crew.run(job, list[float]) for job in jobs])


def one_sample(folder, source):
    """A folder with a grey picture, for timing."""
    import numpy as np

    from mlopt.data.materialise import write_arrays
    from mlopt.data.splits import Role

    inputs = {s.name: np.full((1, *s.shape[1:]), 128.0, s.dtype) for s in source.signature.inputs}
    return write_arrays(folder / "sample", inputs, role=Role.TEST, signature=source.signature).folder


def commit():
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    here = Path(__file__).parent
    return subprocess.run(asked, cwd=here, capture_output=True, text=True, check=False).stdout.strip()


def best(result):
    """The smallest proven file of the format that is no float file."""
    made = [c for c in result.report.candidates if c.format == FORMAT and c.verified and c.precision != "float32"]
    return min(made, key=lambda c: c.bytes)


def main(recipes, seeds="0,1,2"):
    data = Path(os.environ["MLOPT_DATA"])
    settings = {"test": data / "cifar10_jpeg_test.parquet", "max_drop": 0.01}
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = mlopt.compress(data / "ic_resnet8.h5", data=data / "cifar10_jpeg_train.parquet", formats=[FORMAT],
                               precisions=["int8"], out=folder / "plain", **settings)
        plain_file = plain.path(best(plain))
        print(json.dumps({"host": values.to_plain(plain.report.host), "commit": commit()}), flush=True)
        sample = one_sample(folder, plain.report.source)
        for recipe in recipes.split(","):
            for seed in map(int, seeds.split(",")):
                result = mlopt.compress(
                    data / "ic_resnet8.h5", train=data / "cifar10_jpeg_train.parquet", recipe=recipe, seed=seed,
                    out=folder / f"{Path(recipe).stem}-{seed}", on_progress=telling(), **settings,
                )
                found = best(result)
                times = timed([plain_file, result.path(found)], plain.report.source.signature, sample)
                row = {
                    "recipe": recipe, "seed": seed, "precision": found.precision, "bytes": found.bytes,
                    "zipped": found.bytes_zipped, "accuracy": found.evidence.value, "drop": found.evidence.drop,
                    "drop_interval": [found.evidence.drop_interval.low, found.evidence.drop_interval.high],
                    "n": found.evidence.n, "time_to_plain_int8": round(times[1] / times[0], 4),
                    "microseconds": round(times[1], 1), "validation": result.report.trained.steps[-1].validation,
                    "training_seconds": round(result.report.trained.seconds),
                }
                print(json.dumps(row), flush=True)
                rows.setdefault(recipe, []).append(row)
    for recipe, found in rows.items():
        print(json.dumps({"recipe": recipe, "seeds": len(found)} | {
            key: {"mean": statistics.fmean(r[key] for r in found),
                  "spread": statistics.stdev(r[key] for r in found) if len(found) > 1 else None}
            for key in ("bytes", "accuracy", "drop", "time_to_plain_int8", "training_seconds")
        }))


def telling():
    """Progress on standard error, a line where what is done changes."""
    said = {"doing": ""}

    def tell(progress):
        if progress.doing != said["doing"]:
            said["doing"] = progress.doing
            print(progress.part, progress.doing, progress.detail, file=sys.stderr, flush=True)

    return tell


if __name__ == "__main__":
    main(*sys.argv[1:])
