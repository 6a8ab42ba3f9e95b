"""A format for tests: TFLite files, deflated. Like ours, it takes every model; nothing of it is slow."""

from types import MappingProxyType

from mlopt.convert.protocol import Converter, Exporter, Place, Precision
from mlopt.extras import Package


class ZippedConverter(Converter):
    """What mlopt asks of a format; nothing here imports a framework."""

    name = "zipped"
    extra = "tflite"
    gives = "writes TFLite files and runs them in LiteRT"
    reads = (Package("ai_edge_litert", "ai-edge-litert"),)
    runs = reads[0]
    runtime = "LiteRT, after unzipping"
    suffix = ".tflite.gz"
    precisions = (
        Precision(name="float32", about="The float file, deflated.", needs_samples=False),
        Precision(
            name="int8", about="The full-integer file, deflated.", needs_samples=True, make="mlopt_zipped.files:make",
        ),
    )
    exporters = MappingProxyType({"keras": Exporter(function="mlopt_zipped.files:export")})
    open_runtime = "mlopt_zipped.files:open_runtime"
    read_storage = "mlopt_zipped.files:read_storage"
    inventory = "mlopt_zipped.files:operations"
    places = frozenset({Place.HOST})
