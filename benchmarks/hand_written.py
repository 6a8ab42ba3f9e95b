"""What an engineer writes by hand for the same files: one framework after the other, each tool as its guide says.

    python benchmarks/hand_written.py MODEL.h5 CALIBRATION.npz OUT

It only makes the files: it runs none of them, searches nothing and measures nothing. torch is hidden from it, since
with torch present coremltools takes three times as long to import.
"""

import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from mlopt.isolation import TORCH, hide

hide(TORCH)

import coremltools as ct
import coremltools.optimize.coreml as cto
import numpy as np
import onnx
import tensorflow as tf
import tf_keras
from ai_edge_quantizer import quantizer, recipe
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16


def tflite_files(model: tf_keras.Model, images: np.ndarray, out: Path) -> None:
    def samples():
        for image in images:
            yield [image[None].astype(np.float32)]

    def convert(name: str, **settings) -> None:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        for key, value in settings.items():
            if key == "ops":
                converter.target_spec.supported_ops = value
            elif key == "types":
                converter.target_spec.supported_types = value
            else:
                setattr(converter, key, value)
        (out / f"{name}.tflite").write_bytes(converter.convert())

    convert("float32")
    optimize = [tf.lite.Optimize.DEFAULT]
    convert("float16", optimizations=optimize, types=[tf.float16])
    convert("int8-dynamic", optimizations=optimize)
    convert("int8", optimizations=optimize, representative_dataset=samples, ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8],
            inference_input_type=tf.int8, inference_output_type=tf.int8)
    convert("int16x8", optimizations=optimize, representative_dataset=samples,
            ops=[tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8])
    recipes = {
        "int8-weights": recipe.weight_only_wi8_afp32(),
        "int4-weights": recipe.weight_only_wi4_afp32(),
        "mixed-4-8": recipe.dynamic_wi4_afp32(),
    }
    for name, chosen in recipes.items():
        tool = quantizer.Quantizer(str(out / "float32.tflite"))
        tool.load_quantization_recipe(chosen)
        tool.quantize().export_model(str(out / f"{name}.tflite"), overwrite=True)


def onnx_files(model: tf_keras.Model, images: np.ndarray, out: Path) -> None:
    model.export(str(out / "saved"))
    subprocess.run(
        [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(out / "saved"), "--output",
         str(out / "float32.onnx"), "--opset", "17"], check=True, capture_output=True,
    )
    onnx.save(convert_float_to_float16(onnx.load(out / "float32.onnx"), keep_io_types=True), out / "float16.onnx")

    class Reader(CalibrationDataReader):
        def __init__(self):
            name = onnx.load(out / "prepared.onnx").graph.input[0].name
            self.rows = iter([{name: image[None].astype(np.float32)} for image in images])

        def get_next(self):
            return next(self.rows, None)

    quant_pre_process(str(out / "float32.onnx"), str(out / "prepared.onnx"))
    quantize_static(str(out / "prepared.onnx"), str(out / "int8.onnx"), Reader(), quant_format=QuantFormat.QDQ,
                    per_channel=True, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8)


def coreml_files(model: tf_keras.Model, out: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec((1, *t.shape[1:]), t.dtype, t.name) for t in model.inputs])
    def serve(*tensors):
        return model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)

    function = serve.get_concrete_function()
    for name, kind in (("float32", ct.precision.FLOAT32), ("float16", ct.precision.FLOAT16)):
        package = ct.convert([function], source="tensorflow", skip_model_load=True, compute_precision=kind,
                             minimum_deployment_target=ct.target.iOS18)
        package.save(str(out / f"{name}.mlpackage"))
    linear = cto.OptimizationConfig(cto.OpLinearQuantizerConfig(weight_threshold=0))
    cto.linear_quantize_weights(package, linear).save(str(out / "int8-weights.mlpackage"))
    for bits in (8, 6, 4):
        config = cto.OptimizationConfig(cto.OpPalettizerConfig(nbits=bits, mode="kmeans", weight_threshold=0))
        cto.palettize_weights(package, config).save(str(out / f"palette{bits}.mlpackage"))


def main() -> None:
    model_path, calibration, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True)
    images = np.load(calibration)["image"]
    model = tf_keras.models.load_model(model_path, compile=False)
    tflite_files(model, images, out)
    onnx_files(model, images, out)
    coreml_files(model, out)


if __name__ == "__main__":
    main()
