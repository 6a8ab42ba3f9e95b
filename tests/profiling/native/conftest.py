"""Tiny TFLite files for the native runner, and loud skips where a machine lacks a tool."""

import json
from pathlib import Path

import making
import numpy as np
import pytest
from needs import needs_network, needs_program

from mlopt.profiling.native import build, emulator
from mlopt.profiling.target import TargetUnusable


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory):
    """`tiny_files(model, precision)` -> a TFLite file of a tiny real model."""
    from mlopt_tflite import TFLiteConverter
    from mlopt_tflite.exporter import export

    from mlopt.data.samples import Samples
    from mlopt.testing import tiny

    folder = tmp_path_factory.mktemp("files")
    needing = {p.name for p in TFLiteConverter.precisions if p.needs_samples}

    def make(name: str, precision: str = "float32") -> Path:
        dest = folder / f"{name}-{precision}.tflite"
        if dest.exists():
            return dest
        model = tiny.TinyModel(tiny.build(name))
        plain_file = folder / f"{name}-float32.tflite"
        if not plain_file.exists():
            export(model, model.signature, plain_file)
        if precision != "float32":
            samples = folder / f"{name}-samples"
            if not samples.exists():
                (samples / "inputs").mkdir(parents=True)
                for port, array in tiny.inputs_for(model, 20).items():
                    np.save(samples / "inputs" / f"{port}.npy", array)
                meta = {"count": 20, "scale": 1.0, "offset": 0.0, "origin": "given"}
                (samples / "meta.json").write_text(json.dumps(meta))
            needed = Samples.open(samples) if precision in needing else None
            making.make(TFLiteConverter, plain_file, precision, dest, signature=model.signature, samples=needed, seed=0)
        return dest

    return make


@pytest.fixture(scope="session")
def emulated_arm():
    """qemu, with all that it takes to emulate ARM here."""
    needs_program("qemu-aarch64", "aarch64-linux-gnu-gcc")
    try:
        emulator.check_libraries("the test")
    except TargetUnusable as err:
        pytest.skip(str(err))
    try:
        build.aarch64_library("the test")           # fetched once
    except TargetUnusable as err:
        needs_network(False, str(err))
    build.aarch64_runner("the test")
    return emulator.find("the test")


@pytest.fixture
def needs_valgrind():
    needs_program("valgrind")
