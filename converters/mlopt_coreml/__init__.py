"""Core ML packages (.mlpackage): written with coremltools, proven without a Mac.

    exporter    the source model to the float32 package; the only module here that sees TensorFlow
    quantizer   one precision out of the float32 package
    package     reading and writing the folder, byte for byte the same for the same model
    compact     names, duplicates and padding that a device does not need, taken out without changing a number
    palettes    optimal tables of 16 to 256 weights
    runtime     the package in the MIL reference evaluator, in the source model's names
    layers      how far each layer of a package is from the same layer of the float32 package
    mil/        that evaluator: the program, its weight file, and a numpy kernel for each operation

Packages are written for iOS 18 and macOS 15: the first to know tables for groups of channels, 8-bit scales per channel
in the present form, and weights that are sparse and quantized at once.
"""

from types import MappingProxyType

from mlopt.convert.protocol import Converter, Exporter, Precision
from mlopt.extras import Package


class CoreMLConverter(Converter):
    """The door of the format; everything behind it is named by text and imported late."""

    name = "coreml"
    extra = "coreml"
    gives = "writes Core ML packages; on Linux they run in mlopt's reference evaluator"
    reads = (Package("coremltools"),)
    runs = reads[0]
    runtime = "MIL reference evaluator"
    suffix = ".mlpackage"
    other_suffixes = (".mlmodel",)
    precisions = (
        Precision(
            name="float32",
            about="The numbers as they were trained: the reference that the other packages are held against; "
            "iPhones run it on the CPU and GPU, never on the neural engine.",
            needs_samples=False,
        ),
        Precision(
            name="float16",
            about="Weights and activations in 16-bit floats, which is what the neural engine computes in: half the "
            "bytes and the usual choice; numbers above 65504 overflow.",
            needs_samples=False,
            make="mlopt_coreml.quantizer:make",
        ),
        Precision(
            name="int8-weights",
            about="8-bit weights with a scale for each output channel, float16 activations: half the bytes of float16 "
            "at nearly its accuracy; it saves memory, not arithmetic.",
            needs_samples=False,
            make="mlopt_coreml.quantizer:make",
        ),
        Precision(
            name="palette8",
            about="Each weight is one of 256 values of its layer, float16 activations: the most faithful of the "
            "tables; in layers below a thousand weights the table costs more than it saves.",
            needs_samples=False,
            make="mlopt_coreml.quantizer:make",
        ),
        Precision(
            name="palette6",
            about="Each weight is one of 64 values of its layer, float16 activations: three eighths of float16 at "
            "little loss, and well supported by the neural engine.",
            needs_samples=False,
            make="mlopt_coreml.quantizer:make",
        ),
        Precision(
            name="palette4",
            about="Each weight is one of 16 values of its layer, float16 activations: a quarter of float16; small "
            "networks lose accuracy.",
            needs_samples=False,
            make="mlopt_coreml.quantizer:make",
        ),
        Precision(
            name="sparse-int8",
            about="Only the weights that are not zero, in 8 bits, and a bit mask for the rest: for pruned models with "
            "at least 30 % zeros in a layer; it is refused where no layer has as many.",
            needs_samples=False,
            make="mlopt_coreml.quantizer:make",
            refusal="mlopt_coreml.quantizer:not_sparse",
        ),
    )
    exporters = MappingProxyType({
        "keras": Exporter(function="mlopt_coreml.exporter:export"),
    })
    open_runtime = "mlopt_coreml.runtime:open_runtime"
    read_storage = "mlopt_coreml.runtime:read_storage"
    inventory = "mlopt_coreml.inventory:operations"
    layer_errors = "mlopt_coreml.layers:layer_errors"
    exports_apart = True
    takes_longest = 1
