"""ONNX files and ONNX Runtime: the light door. Nothing heavy is imported here."""

from mlopt import telemetry
from mlopt.convert.protocol import Precision

telemetry.switch_off()      # before any module of this package imports ONNX Runtime, wherever that is


class OnnxConverter:
    """Writes `.onnx` files and runs them in ONNX Runtime."""

    name = "onnx"
    extra = "onnx"
    runtime = "ONNX Runtime"
    suffix = ".onnx"
    precisions = (
        Precision(
            name="float32",
            about="The trained weights as they are; the yardstick for the others. Largest file.",
            needs_samples=False,
        ),
        Precision(
            name="float16",
            about=(
                "Weights and arithmetic in half precision, inputs and outputs still float32: half the size at nearly"
                " the same answers. Faster only where the processor has float16 arithmetic; most x86 processors do not."
            ),
            needs_samples=False,
        ),
        Precision(
            name="int8",
            about=(
                "8-bit weights (signed, one scale per channel) and 8-bit activations (unsigned): a quarter of the size"
                " and usually the fastest on x86 and ARM. Activation ranges come from samples, so they should look like"
                " what the device sees; operations without an integer kernel stay in float and are listed."
            ),
            needs_samples=True,
            grids=("int8", "mixed-4-8"),
        ),
    )
    export = "mlopt_onnx.exporter:export"
    make = "mlopt_onnx.quantizer:make"
    open_runtime = "mlopt_onnx.runtime:open_runtime"
    read_storage = "mlopt_onnx.runtime:read_storage"
    layer_errors = "mlopt_onnx.runtime:layer_errors"
    measures_latency = True
    draft = "mlopt_onnx.draft:draft"
    exports_apart = False
