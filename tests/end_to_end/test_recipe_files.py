"""What a recipe trained is what stands in the files: shared values exactly, zeros in their pattern."""

import json

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mlopt.testing import tiny

CLUSTERED = """\
schema: 1
about: Few values, kept.
steps:
  - cluster: {values: 16, epochs: 1, batch: 32}
export:
  - {to: coreml, precision: float16}
  - {to: coreml, precision: palette4}
"""
SPARSE = """\
schema: 1
about: Zeros, kept.
steps:
  - prune: {pattern: "2:4", epochs: 1, batch: 32}
  - quantize: {scheme: int8, epochs: 1, batch: 32}
export:
  - {to: tflite, precision: int8}
"""


@pytest.fixture(scope="module")
def run(files, mlopt, tmp_path_factory):
    """Carry out a recipe on 200 samples: (bundle, the printed object)."""
    place = tmp_path_factory.mktemp("trained")
    model = tiny.TinyModel(tiny.build("small_convnet"))
    inputs = tiny.inputs_for(model, 200, 5)
    np.savez(place / "train.npz", image=inputs["image"], label=model.predict(inputs)["label"].argmax(axis=1))

    def carry_out(name, recipe):
        (place / f"{name}.yaml").write_text(recipe)
        done = mlopt("compress", files / "model.h5", "--recipe", place / f"{name}.yaml", "--train", place / "train.npz",
                     "--test", files / "test.npz", "--out", place / name, "--max-drop", "0.9", "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        return place / name, json.loads(done.stdout)

    return carry_out


def test_a_core_ml_palette_of_clustered_weights_computes_what_their_float16_file_computes(run):
    _, printed = run("clustered", CLUSTERED)
    half, palette = (next(c for c in printed["candidates"] if c["precision"] == name)
                     for name in ("float16", "palette4"))
    assert palette["verified"] and palette["bytes"] < half["bytes"]
    assert (palette["max_abs_error"], palette["sqnr_db"]) == (half["max_abs_error"], half["sqnr_db"])


def test_two_of_every_four_weights_are_zero_in_the_integer_file(run):
    bundle, _ = run("sparse", SPARSE)
    interpreter = Interpreter(model_path=str(bundle / "tflite/model-int8.tflite"))
    kernels = [interpreter.get_tensor(t["index"]) for t in interpreter.get_tensor_details()
               if t["dtype"] is np.int8 and len(t["shape"]) in (2, 4) and tuple(t["shape"][:1]) != (1,)]
    held = [k for k in kernels if k.size >= 100 and k.shape[-1] % 4 == 0]      # [out, ..., in]
    assert len(held) == 2, [k.shape for k in kernels]
    for kernel in held:
        assert (np.count_nonzero(kernel.reshape(-1, 4), axis=1) <= 2).all(), kernel.shape
