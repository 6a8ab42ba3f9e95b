"""The format, held to what mlopt asks of anyone's: `pytest` beside this package's pyproject.toml."""

from mlopt_dense import DenseConverter

from mlopt.testing.converters import ConverterContract


class TestDense(ConverterContract):
    door = DenseConverter()
    models = ("autoencoder",)
