"""The operations that a SavedModel may run are TensorFlow's own, and none of the kinds that reach out of it."""

import importlib
import re
from pathlib import Path

from tensorflow.python.framework import op_def_registry

from mlopt.frameworks.keras.saved_model.operations import FILLING_FROM_FILE, OPERATIONS, RESTORING, RUN_WHEN_OPENED

# where TensorFlow keeps operations that touch files, processes, Python, the network and other devices
REACHING = (
    "gen_io_ops", "gen_script_ops", "gen_debug_ops", "gen_collective_ops", "gen_sendrecv_ops", "gen_nccl_ops",
    "gen_dataset_ops", "gen_experimental_dataset_ops", "gen_summary_ops", "gen_checkpoint_ops", "gen_tpu_ops",
    "gen_decode_proto_ops", "gen_encode_proto_ops", "gen_batch_ops",
)  # fmt: skip
PURE = {"DecodeBase64", "EncodeBase64", "ShardedFilename", "ShardedFilespec"}      # of gen_io_ops, text to text


def operations_in(module: str) -> set[str]:
    source = importlib.import_module(f"tensorflow.python.ops.{module}").__file__
    assert source is not None
    return set(re.findall(r'_apply_op_helper\(\s*"(\w+)"', Path(source).read_text()))


def test_every_known_operation_is_one_of_tensorflow():
    known = OPERATIONS | RUN_WHEN_OPENED | RESTORING | FILLING_FROM_FILE
    assert {name for name in known if op_def_registry.get(name) is None} == set()


def test_no_known_operation_is_of_a_module_that_reaches_out():
    for module in REACHING:
        assert (operations_in(module) & OPERATIONS) - PURE == set(), module
    assert len(operations_in("gen_io_ops")) > 20          # the modules were read


def test_no_known_operation_has_an_attribute_that_names_a_file():
    for name in OPERATIONS:
        definition = op_def_registry.get(name)
        words = {part.name for part in (*definition.attr, *definition.input_arg)}
        named = {word for word in words if "file" in word or word.endswith("path") or "memory_region" in word}
        assert not named, (name, named)
