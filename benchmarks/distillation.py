"""What a teacher is worth: the same student, trained as long on the same samples, with and without one.

    MLOPT_DATA=FOLDER python benchmarks/distillation.py [RECIPE] [SEED,SEED...] [SHARE]

FOLDER holds `ic_resnet8.h5`, `cifar10_jpeg_train.parquet` and `cifar10_jpeg_test.parquet`. SHARE of the training rows,
by default 1, are used, others for each seed; the source itself learned from all of them. RECIPE, by default
`photo-half`, is a shipped one or a file; beside it runs a copy whose steps listen to labels: `distill` with a share of
a thousandth for the teacher, the least that it takes, and the others with `teacher: none`. Both int8 files run in
LiteRT on every test picture. Prints one JSON object a seed: accuracies, and the difference with the interval of its
pairs; and at the end the mean difference, whose interval holds the pictures' chance and the seeds'.
"""

import io
import json
import math
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml
from PIL import Image
from scipy.stats import t

import mlopt
from mlopt.recipe.load import load


def pictures(file):
    """uint8 [N, 32, 32, 3] and labels [N]."""
    table = pq.read_table(file)
    decoded = [np.asarray(Image.open(io.BytesIO(each)).convert("RGB")) for each in table.column("image").to_pylist()]
    return np.stack(decoded), np.asarray(table.column("label").to_pylist())


def right(file, images, labels):
    """Whether the file's top class is each picture's own."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file))
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(taken["index"], images.shape)
    interpreter.allocate_tensors()
    rows = images.astype(np.float32)
    if taken["dtype"] is not np.float32:
        scale, zero = taken["quantization"]
        limits = np.iinfo(taken["dtype"])
        rows = np.clip(np.round(rows / scale) + zero, limits.min, limits.max).astype(taken["dtype"])
    interpreter.set_tensor(taken["index"], rows)
    interpreter.invoke()
    return interpreter.get_tensor(given["index"]).argmax(axis=-1) == labels


def alone(recipe, folder):
    """A copy of the recipe in which labels teach."""
    text = yaml.safe_load(shipped(recipe).read_text())
    for step in text["steps"]:
        for name, settings in step.items():
            if name == "distill":
                settings["labels"] = 0.999
            else:
                settings["teacher"] = "none"
                settings.pop("labels", None)
                settings.pop("temperature", None)
    path = folder / f"{Path(recipe).stem}-alone.yaml"
    path.write_text(yaml.safe_dump(text, sort_keys=False))
    return path


def shipped(recipe):
    import mlopt_recipes

    named = Path(mlopt_recipes.__file__).parent / f"{recipe}.yaml"
    return named if named.exists() else Path(recipe)


def interval(mean, variance, freedom):
    """Of 95 %, by Student's distribution."""
    half = t.ppf(0.975, freedom) * math.sqrt(variance)
    return [round(mean - half, 5), round(mean + half, 5)]


def together(differences):
    """Mean, variance and degrees of freedom over seeds [k, n]: the pictures' chance and the seeds', added up.

    The degrees of freedom are those of Satterthwaite 1946.
    """
    by_picture = np.mean(differences, axis=0)
    parts = [(by_picture.var(ddof=1) / len(by_picture), len(by_picture) - 1)]
    if len(differences) > 1:
        means = [each.mean() for each in differences]
        parts.append((statistics.variance(means) / len(means), len(means) - 1))
    variance = sum(part for part, _ in parts)
    return by_picture.mean(), variance, variance**2 / sum(part**2 / freedom for part, freedom in parts)


def some(file, share, seed, folder):
    """The file, or another with a share of its rows."""
    if share == 1:
        return file
    table = pq.read_table(file)
    taken = np.random.default_rng(seed).choice(len(table), round(share * len(table)), replace=False)
    path = folder / f"train-{seed}.parquet"
    pq.write_table(table.take(np.sort(taken)), path)
    return path


def main(recipe="photo-half", seeds="0,1,2", share="1"):
    data = Path(os.environ["MLOPT_DATA"])
    images, labels = pictures(data / "cifar10_jpeg_test.parquet")
    assert load(recipe).steps, "nothing is trained"
    differences = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in map(int, seeds.split(",")):
            scores = {}
            train = some(data / "cifar10_jpeg_train.parquet", float(share), seed, folder)
            for who, path in (("taught", recipe), ("alone", alone(recipe, folder))):
                result = mlopt.compress(
                    data / "ic_resnet8.h5", train=train, recipe=path, seed=seed,
                    test=data / "cifar10_jpeg_test.parquet", formats=["tflite"], precisions=["int8"],
                    out=folder / f"{who}-{seed}",
                )
                (made,) = [c for c in result.report.candidates if c.precision == "int8" and c.verified]
                scores[who] = right(result.path(made), images, labels)
            each = scores["taught"].astype(float) - scores["alone"]
            differences.append(each)
            print(json.dumps({
                "recipe": recipe, "share": float(share), "seed": seed, "n": len(labels),
                "taught": scores["taught"].mean(), "alone": scores["alone"].mean(), "difference": round(each.mean(), 5),
                "interval": interval(each.mean(), each.var(ddof=1) / len(each), len(each) - 1),
            }), flush=True)
    mean, variance, freedom = together(differences)
    print(json.dumps({
        "recipe": recipe, "share": float(share), "seeds": len(differences), "difference": round(mean, 5),
        "interval": interval(mean, variance, freedom),
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
