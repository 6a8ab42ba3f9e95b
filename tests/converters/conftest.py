"""Files that several tests of a format look at."""

import pytest
from exported_tflite import Exported


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A tiny model by its name, exported to TFLite once."""
    folder, known = tmp_path_factory.mktemp("tflite"), {}

    def get(name: str) -> Exported:
        if name not in known:
            known[name] = Exported(name, folder)
        return known[name]

    return get
