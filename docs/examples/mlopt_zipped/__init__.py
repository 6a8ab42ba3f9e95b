"""An example converter: TFLite files, deflated for an app that unpacks them itself. The light door."""

from mlopt.convert.protocol import Precision


class ZippedConverter:
    """What mlopt asks of a format; nothing here imports a framework."""

    name = "zipped"
    extra = "tflite"
    runtime = "LiteRT, after unzipping"
    suffix = ".tflite.gz"
    precisions = (
        Precision(name="float32", about="The float file, deflated.", needs_samples=False),
        Precision(name="int8", about="The full-integer file, deflated.", needs_samples=True),
    )
    export = "mlopt_zipped.files:export"
    make = "mlopt_zipped.files:make"
    open_runtime = "mlopt_zipped.files:open_runtime"
    read_storage = "mlopt_zipped.files:read_storage"
    layer_errors = ""
    measures_latency = True
    exports_apart = False
