"""Our lowering to TFLite integers beside ai-edge-quantizer's: the same float file, the same samples, the same kernels.

    python benchmarks/lowering.py MODEL.h5 CALIBRATION.npz TEST.npz

Prints a line a file: bytes; the signal to noise of its outputs against the float file, in dB; the share of test samples
with the float file's top answer, and with the label's where TEST has labels. ai-edge-quantizer gets the float file as
TensorFlow's converter writes it, since it needs the tensors' names; its int8 file has min-max ranges, its default.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from mlopt.isolation import TORCH, hide

hide(TORCH)

import numpy as np
import tensorflow as tf
import tf_keras
from ai_edge_quantizer import quantizer, recipe
from mlopt_tflite.engine import Engine

import mlopt
from mlopt.ranges import sqnr_db


def theirs(float_file: Path, inputs: dict[str, np.ndarray], dest: Path, *, integer: bool) -> Path:
    tool = quantizer.Quantizer(str(float_file))
    tool.load_quantization_recipe(recipe.static_wi8_ai8() if integer else recipe.dynamic_wi8_afp32())
    calibrated = None
    if integer:
        count = len(next(iter(inputs.values())))
        rows = [{name: array[i : i + 1] for name, array in inputs.items()} for i in range(count)]
        calibrated = tool.calibrate({"serving_default": rows})
    tool.quantize(calibrated).export_model(str(dest), overwrite=True)
    return dest


def main() -> None:
    model, calibration, test = map(Path, sys.argv[1:])
    given, asked = dict(np.load(calibration)), dict(np.load(test))
    given.pop("label", None)
    labels = asked.pop("label", None)
    given, asked = ({n: a.astype(np.float32) for n, a in arrays.items()} for arrays in (given, asked))
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        made = mlopt.compress(model, data=calibration, test=test, out=work / "bundle", formats=("tflite",),
                              precisions=("int8", "int8-dynamic"))
        ours = {c.precision: made.folder / c.path for c in made.report.candidates}
        converted = work / "converted.tflite"
        converted.write_bytes(tf.lite.TFLiteConverter.from_keras_model(tf_keras.models.load_model(model)).convert())
        files = {"float32": ours["float32"], "int8, ours": ours["int8"], "int8-dynamic, ours": ours["int8-dynamic"]}
        for kind in ("int8", "int8-dynamic"):
            made_by = theirs(converted, given, work / f"{kind}.tflite", integer=kind == "int8")
            files[f"{kind}, ai-edge-quantizer"] = made_by
        exact = answers(files["float32"], asked)
        for name, file in files.items():
            print(told(name, file, answers(file, asked), exact, labels))


def answers(file: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return next(iter(Engine(file.read_bytes()).predict(inputs).values()))


def told(name: str, file: Path, found: np.ndarray, exact: np.ndarray, labels: np.ndarray | None) -> str:
    top = found.argmax(-1)
    right = "" if labels is None else f", top-1 {np.mean(top == labels):.4f}"
    same = np.mean(top == exact.argmax(-1))
    return f"{name}: {file.stat().st_size} bytes, {sqnr_db(exact, found):.2f} dB, agreement {same:.4f}{right}"


if __name__ == "__main__":
    main()
