"""A stage imports what stands above it in the house, and frameworks stay in the rooms that need them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The order of docs/explanation/design.md: each may import what stands before it.
ORDER = (
    ("exits",), ("errors",), ("locks",), ("suggestions",), ("isolation",), ("telemetry",), ("memory",), ("disks",),
    ("files",), ("archives",), ("documents",), ("quantities",), ("plain",), ("run_folder",), ("plugins",),
    ("extras",), ("private_network",), ("sandbox",), ("location",), ("settings",), ("code",), ("worker",),
    ("events",), ("model",), ("network",), ("channels",), ("scheme",), ("grid",), ("distribution",), ("ranges",),
    ("outputs",), ("artifact",), ("report",), ("words",), ("configuration",), ("cache",), ("worker_main",), ("data",),
    ("manifest",), ("recipe",), ("convert",), ("verify",), ("frameworks",), ("training",), ("steps",), ("profiling",),
    ("choice",), ("render",), ("gate",), ("pipeline",), ("diagnosis",), ("recipes",), ("api",), ("cli",),
    ("testing",),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
FRAMEWORKS = {"tensorflow", "tf_keras", "keras", "torch", "coremltools", "onnx", "onnxruntime", "tf2onnx",
              "ai_edge_litert", "ai_edge_quantizer", "tensorflow_model_optimization"}


NAMED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")        # a function named by text, "package.module:function"
# What a framework is called, what its files are called: behind its door, and nowhere else.
OF_A_FRAMEWORK = re.compile(r"tensorflow|keras|tf_|h5|saved_?model", re.IGNORECASE)
EXCEPTIONS = {
    "mlopt/cli/compress.py": "the help says which files people bring, and may load no door for it",
    "mlopt/sandbox/variables.py": "variables that drivers and libraries read, by their prefixes",
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path, *, late: bool) -> set[str]:
    """Full names that a module imports: at its top, or in functions and as text too; not what type checkers read."""
    found = set()
    waiting = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif late and isinstance(node, ast.Constant) and isinstance(node.value, str) and NAMED.fullmatch(node.value):
            found.add(node.value.replace(":", "."))
        elif late or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found


def stage(path: Path) -> str:
    part = path.relative_to(ROOT / "mlopt").parts[0]
    return part.removesuffix(".py")


def out_of_order(path: Path) -> list[str]:
    here = stage(path)
    assert here in RANK, f"{here} has no place in the order: give it one here and in design.md"
    parts = [name.split(".") for name in imports(path, late=True) if name.startswith("mlopt.")]
    return sorted({
        f"{here} imports {'.'.join(part)}, which stands after it"
        for part in parts if RANK.get(part[1], 0) > RANK[here]
    })


@pytest.mark.parametrize(
    "path", [p for p in modules("mlopt") if stage(p) != "__init__"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_stage_imports_only_what_stands_before_it_at_the_top_late_and_by_text(path):
    assert out_of_order(path) == []


def examples(text: str) -> set[int]:
    """The numbers of a file's lines that are examples in docstrings: doctests, and what is set in further."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstring, is_example = node.body[0], False
            for number in range(docstring.lineno, docstring.end_lineno + 1):
                line = text.splitlines()[number - 1]
                set_in = number > docstring.lineno and len(line) - len(line.lstrip()) >= docstring.col_offset + 4
                is_example = bool(line.strip()) and (is_example or set_in or line.strip().startswith(">>>"))
                found |= {number} if is_example else set()
    return found


def neutral(path: Path) -> bool:
    return not any(path.is_relative_to(ROOT / place) for place in ("mlopt/frameworks/keras", "mlopt/testing"))


@pytest.mark.parametrize("path", [p for p in modules("mlopt") if neutral(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_neutral_room_speaks_of_no_framework(path):
    if str(path.relative_to(ROOT)) in EXCEPTIONS:
        return
    text = path.read_text()
    told = examples(text)
    spoken = [f"{number}: {line.strip()}" for number, line in enumerate(text.splitlines(), 1)
              if OF_A_FRAMEWORK.search(line) and number not in told]
    assert spoken == []


def test_few_rooms_are_exceptions_and_each_needs_to_be():
    assert len(EXCEPTIONS) <= 5
    for name in EXCEPTIONS:
        text = (ROOT / name).read_text()
        assert OF_A_FRAMEWORK.search(text), f"{name} is no exception any more"


def test_an_import_inside_a_function_and_one_by_text_break_the_order_too(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "mlopt").mkdir()
    file = tmp_path / "mlopt" / "files.py"
    for line in ("import mlopt.cli", "def late():\n    from mlopt.cli import main", "WHO = 'mlopt.cli:main'"):
        file.write_text(line)
        assert len(out_of_order(file)) == 1, line
    file.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mlopt.cli\nSAID = 'mlopt.cli: x'")
    assert out_of_order(file) == []


@pytest.mark.parametrize("path", modules("mlopt"), ids=lambda p: str(p.relative_to(ROOT)))
def test_frameworks_are_imported_only_at_the_edge(path):
    if path.is_relative_to(ROOT / "mlopt/frameworks") or path.is_relative_to(ROOT / "mlopt/testing"):
        return
    at_a_board = path.is_relative_to(ROOT / "mlopt/profiling/runner")     # the runner travels alone: its runtimes, late
    found = {name.split(".")[0] for name in imports(path, late=True)} & FRAMEWORKS
    if at_a_board:
        assert not {name.split(".")[0] for name in imports(path, late=False)} & FRAMEWORKS
        found -= {"ai_edge_litert", "onnxruntime"}
    assert not found, f"{path.name} imports {found}: that belongs in frameworks/ or converters/"


@pytest.mark.parametrize("format", ["tflite", "onnx", "coreml"])
def test_a_door_imports_nothing_heavy(format):
    code = f"import mlopt_{format}, sys; print(sorted(set(sys.modules) & {FRAMEWORKS!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]"


def test_importing_mlopt_and_its_command_line_loads_no_framework_no_numpy_and_nothing_else_that_takes_its_time():
    heavy = FRAMEWORKS | {"numpy", "scipy", "jinja2", "filelock", "yaml"}
    code = f"import mlopt, mlopt.cli, sys; print(sorted(set(sys.modules) & {heavy!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]"


def test_the_api_loads_no_framework():
    code = f"import mlopt.api, sys; print(sorted(set(sys.modules) & {FRAMEWORKS!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]"
