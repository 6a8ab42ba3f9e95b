"""TFLite files for LiteRT: float, and quantized from the float file by this package's own lowering.

exporter    the source model to the float file; the only module here that sees TensorFlow
precisions  one precision out of the float file, a module for those that run the same code
runtime     the file in LiteRT, in the source model's names and real numbers
layers      how far each tensor inside a file is from the same tensor of the float file
"""

from types import MappingProxyType

from mlopt.convert.protocol import Converter, Exporter, Place, Precision
from mlopt.extras import Package
from mlopt.scheme import GridStorage


class TFLiteConverter(Converter):
    """The door of the format; everything behind it is named by text and imported late."""

    name = "tflite"
    extra = "tflite"
    gives = "writes TFLite files and runs them in LiteRT"
    reads = (Package("ai_edge_litert", "ai-edge-litert"),)
    runs = reads[0]
    runtime = "LiteRT"
    suffix = ".tflite"
    precisions = (
        Precision(
            name="float32",
            about="The numbers as they were trained: the reference that the other files are held against.",
            needs_samples=False,
        ),
        Precision(
            name="float16",
            about="Weights in 16-bit floats, unpacked to float32 when the file is loaded: half the bytes, the same "
            "speed and memory; it will not make integer hardware usable.",
            needs_samples=False,
            make="mlopt_tflite.precisions.weights:make",
        ),
        Precision(
            name="int8",
            about="Weights, activations, inputs and outputs in 8-bit integers: for microcontrollers, DSPs and NPUs, "
            "and the fastest where the processor multiplies bytes; it needs representative samples.",
            needs_samples=True,
            make="mlopt_tflite.precisions.integer:make",
            full_integer=True,
            grids=GridStorage(weight_bits=(8,), activation_bits=8),
        ),
        Precision(
            name="int8-dynamic",
            about="8-bit weights; activations are floats that are rounded to 8 bits at run time: a quarter of the "
            "bytes and fast on phone processors without any data; integer-only hardware cannot run it.",
            needs_samples=False,
            make="mlopt_tflite.precisions.weights:make",
            grids=GridStorage(weight_bits=(8,)),
        ),
        Precision(
            name="int8-weights",
            about="8-bit weights, unpacked to float32 when the file is loaded: a quarter of the bytes at float "
            "accuracy and speed; it does not save memory while running.",
            needs_samples=False,
            make="mlopt_tflite.precisions.weights:make",
            grids=GridStorage(weight_bits=(8,)),
        ),
        Precision(
            name="int16x8",
            about="8-bit weights with 16-bit activations: for integer hardware when int8 activations lose too much; "
            "most processors run it slowly.",
            needs_samples=True,
            make="mlopt_tflite.precisions.integer:make",
            full_integer=True,
            proof_samples=200,   # 8 to 60 times slower than float on x86: 5,000 would take minutes
        ),
        Precision(
            name="int4-weights",
            about="4-bit weights, rounded by what the samples show; activations are floats that are rounded to 8 bits "
            "at run time: an eighth of the bytes; many processors run it slower than float.",
            needs_samples=True,
            make="mlopt_tflite.precisions.low_bits:make",
        ),
        Precision(
            name="mixed-4-8",
            about="4-bit weights where the measured loss is small and 8-bit elsewhere; activations are floats, "
            "rounded to 8 bits at run time: the smallest file that stays close to the source; often slower than int8.",
            needs_samples=True,
            make="mlopt_tflite.precisions.low_bits:make",
            grids=GridStorage(weight_bits=(8, 4)),
        ),
        Precision(
            name="int8-mixed-4-8",
            about="Activations, inputs and outputs in 8-bit integers, weights in 4 bits where the measured loss is "
            "small and 8 bits elsewhere: mixed-4-8 for hardware without floats; kernels unpack 4 bits as they run, so "
            "most processors run it slower than int8.",
            needs_samples=True,
            make="mlopt_tflite.precisions.integer_low_bits:make",
            full_integer=True,
            by_default=False,
            grids=GridStorage(weight_bits=(8, 4), activation_bits=8),
        ),
    )
    exporters = MappingProxyType({
        "keras": Exporter(function="mlopt_tflite.exporter:export"),
    })
    open_runtime = "mlopt_tflite.runtime:open_runtime"
    read_storage = "mlopt_tflite.storage:read_storage"
    inventory = "mlopt_tflite.inventory:operations"
    layer_errors = "mlopt_tflite.layers:layer_errors"
    places = frozenset({Place.HOST, Place.BOARD, Place.NATIVE})
    draft = "mlopt_tflite.draft:draft"
    takes_longest = 3
