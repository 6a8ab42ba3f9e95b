"""coremltools' conversion, from whatever it takes to a package in memory; nothing stays behind on disk."""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlopt_coreml.package import Package, read_package
from mlopt_coreml.quiet import ct

if TYPE_CHECKING:
    from tensorflow.types.experimental import ConcreteFunction

TARGET = ct.target.iOS18      # and macOS 15: see the package's own page for why


def converted(
    model: "Sequence[ConcreteFunction] | ct.converters.mil.Program", *, source: str, half: bool
) -> Package:
    """Run `ct.convert` from `source`, "tensorflow" or "milinternal", to a float32 or float16 program."""
    with tempfile.TemporaryDirectory(prefix="mlopt-coreml-") as folder:
        path = Path(folder) / "model.mlpackage"
        with warnings.catch_warnings():
            # its own temporary folder of weights is left to the garbage collector
            warnings.filterwarnings("ignore", "Implicitly cleaning up", ResourceWarning)
            # names that Core ML forbids; the contract maps them
            warnings.filterwarnings("ignore", "(Input|Output), .*has been renamed to", UserWarning)
            ct.convert(
                model,
                source=source,
                convert_to="mlprogram",
                compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
                minimum_deployment_target=TARGET,
                skip_model_load=True,
                package_dir=str(path),
            )
        return read_package(path)
