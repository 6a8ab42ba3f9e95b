"""Dense networks in a .npz file, run by NumPy: an example of a format. The light door."""

from types import MappingProxyType

from mlopt.convert.protocol import Converter, Exporter, Place, Precision
from mlopt.extras import Package


class DenseConverter(Converter):
    """What mlopt asks of a format; nothing here imports a framework or NumPy."""

    name = "dense"
    extra = "dense"
    gives = "writes dense networks as .npz files and runs them in NumPy"
    reads = (Package("numpy"),)
    runs = reads[0]
    runtime = "NumPy"
    suffix = ".dense.npz"
    precisions = (
        Precision(name="float32", about="The numbers as they were trained.", needs_samples=False),
        Precision(
            name="int8-weights",
            about="8-bit kernels with a scale for each output, unpacked as the file is loaded: a quarter of the bytes.",
            needs_samples=False,
            make="mlopt_dense.quantizer:make",
        ),
    )
    exporters = MappingProxyType({"keras": Exporter(function="mlopt_dense.exporter:export")})
    open_runtime = "mlopt_dense.runtime:open_runtime"
    read_storage = "mlopt_dense.runtime:read_storage"
    inventory = "mlopt_dense.runtime:operations"
    places = frozenset({Place.HOST})
