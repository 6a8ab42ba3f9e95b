"""What a converter takes of a library without the library's promise stands in one file: an upgrade is read there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CONVERTERS = Path(__file__).parents[2] / "converters"
# By library, the modules that its documentation names and that the converters import.
PUBLIC = {
    "ai_edge_litert": {"ai_edge_litert.interpreter"},
    "coremltools": {"coremltools"},
    "flatbuffers": {"flatbuffers"},
    "onnx": {"onnx", "onnx.checker", "onnx.defs", "onnx.helper", "onnx.numpy_helper", "onnx.shape_inference"},
    "onnxruntime": {"onnxruntime"},
    "tensorflow": {"tensorflow", "tensorflow.types.experimental"},
    "tf2onnx": set(),
}
# Modules that are no part of a public one, though they can be reached through it.
BEHIND = (
    "coremltools.converters.mil.backend", "coremltools.converters.mil.frontend", "coremltools.libmilstoragepython",
    "coremltools.proto", "onnx.onnx_cpp2py_export", "onnxruntime.capi", "tensorflow.python",
)


def private_names(source: str) -> list[str]:
    """Every private name of a library in `PUBLIC` that the source touches: imported, reached, or named by text."""
    tree = ast.parse(source)
    return [*_imported(tree), *_reached(tree), *_with_underscore(tree)]


def _library(module: str) -> str | None:
    return module.split(".", maxsplit=1)[0] if module.split(".", maxsplit=1)[0] in PUBLIC else None


def _is_private(module: str) -> bool:
    library = _library(module)
    return library is not None and module not in PUBLIC[library]


def _is_behind(name: str) -> bool:
    return any(name == module or name.startswith(module + ".") for module in BEHIND)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_private(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level and _library(node.module):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if _is_private(node.module) or _is_behind(name) or alias.name.startswith("_"):
                    yield name
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            named = ast.literal_eval(node.args[0])
            if _is_private(named):
                yield named


def _reached(tree: ast.Module) -> Iterator[str]:
    """`ort.capi.x` where `ort` stands for a library."""
    known = {"ct": "coremltools"}                       # through `mlopt_coreml.quiet`
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import) else ():
            first = alias.name.split(".")[0]
            known |= {alias.asname: alias.name} if alias.asname else {first: first}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root, _, rest = ast.unparse(node).partition(".")
            if root in known and f"{known[root]}.{rest}" in BEHIND:
                yield f"{known[root]}.{rest}"


def _with_underscore(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
        if isinstance(node, ast.Attribute) and not own and re.match(r"_[^_]", node.attr):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "setattr", "hasattr"}:
            yield from (
                a.value for a in node.args[1:2]
                if isinstance(a, ast.Constant) and isinstance(a.value, str) and a.value.startswith("_")
            )


def modules() -> list[Path]:
    return sorted(CONVERTERS.rglob("*.py"))


@pytest.mark.parametrize(("source", "name"), [
    ("import tensorflow.python.eager", "tensorflow.python.eager"),
    ("def f():\n    from tensorflow.python.eager import context", "tensorflow.python.eager.context"),
    ("from tensorflow import python", "tensorflow.python"),
    ("from ai_edge_litert import schema_py_generated", "ai_edge_litert.schema_py_generated"),
    ("from onnx import _c", "onnx._c"),
    ("import onnxruntime as ort\nort.capi.onnxruntime_pybind11_state.Fail", "onnxruntime.capi"),
    ("ct.proto.MIL_pb2", "coremltools.proto"),
    ("import_module('coremltools.converters.mil.frontend')", "coremltools.converters.mil.frontend"),
    ("interpreter._get_full_signature_list()", "interpreter._get_full_signature_list"),
    ("getattr(interpreter, '_interpreter')", "_interpreter"),
])
def test_a_private_name_is_seen_however_it_is_reached(source, name):
    assert private_names(source) == [name]


@pytest.mark.parametrize("source", [
    "import tensorflow as tf\ntf.compat.v1.GraphDef", "from onnx import helper", "self._cache", "cls._of()",
    "import onnxruntime as ort\nort.InferenceSession", "x.__dict__", "ct.converters.mil.Builder",
])
def test_a_public_name_is_none(source):
    assert private_names(source) == []


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(CONVERTERS)))
def test_private_names_of_a_library_stand_in_its_own_file(path):
    found = private_names(path.read_text())
    if path.parent.name != "private":
        assert not found, f"move {', '.join(found)} to {path.parent.name}/private/, with the reason"
        return
    libraries = {_library(name) for name in found} - {None}
    assert libraries <= {path.stem}, f"{path.name} holds names of {', '.join(sorted(libraries))}"


@pytest.mark.parametrize("path", [p for p in modules() if p.parent.name == "private" and p.stem != "__init__"],
                         ids=lambda p: str(p.relative_to(CONVERTERS)))
def test_a_file_of_private_names_says_in_which_version_they_were_seen(path):
    assert re.search(r"seen in .*\d+\.\d+", ast.get_docstring(ast.parse(path.read_text())) or "")
    assert private_names(path.read_text()), "nothing in it is private: delete it"
