"""ONNX files and ONNX Runtime: the light door. Nothing heavy is imported here."""

from types import MappingProxyType

from mlopt import telemetry
from mlopt.convert.protocol import Converter, Exporter, Place, Precision
from mlopt.extras import Package
from mlopt.scheme import GridStorage

telemetry.switch_off()      # before any module of this package imports ONNX Runtime, wherever that is


class OnnxConverter(Converter):
    """Writes `.onnx` files and runs them in ONNX Runtime."""

    name = "onnx"
    extra = "onnx"
    gives = "writes ONNX files and runs them in ONNX Runtime"
    reads = (Package("onnx"), Package("onnxruntime"))
    runs = reads[1]
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
            make="mlopt_onnx.half:make",
        ),
        Precision(
            name="int8",
            about=(
                "8-bit weights (signed, one scale per channel) and 8-bit activations (unsigned): a quarter of the size"
                " and usually the fastest on x86 and ARM. Activation ranges come from samples, so they should look like"
                " what the device sees; operations without an integer kernel stay in float and are listed."
            ),
            needs_samples=True,
            make="mlopt_onnx.quantizer:make",
            grids=GridStorage(weight_bits=(8,), activation_bits=8),
        ),
    )
    exporters = MappingProxyType({
        "keras": Exporter(function="mlopt_onnx.exporter:export", needs=(Package("tf2onnx"),)),
    })
    open_runtime = "mlopt_onnx.runtime:open_runtime"
    read_storage = "mlopt_onnx.runtime:read_storage"
    inventory = "mlopt_onnx.inventory:operations"
    layer_errors = "mlopt_onnx.runtime:layer_errors"
    places = frozenset({Place.HOST, Place.BOARD})
    draft = "mlopt_onnx.draft:draft"
    takes_longest = 2
