"""How many damaged copies of each format are tried: few in the suite, many at night."""

import os

import pytest


@pytest.fixture(scope="session")
def fuzz_mutations() -> int:
    return int(os.environ.get("MLOPT_FUZZ_MUTATIONS", "100"))
