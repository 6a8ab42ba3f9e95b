"""A stage imports what stands above it in the house, and frameworks stay in the rooms that need them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The order of docs/explanation/design.md: each may import what stands before it.
ORDER = (
    ("errors",), ("isolation",), ("telemetry",), ("memory",), ("disks",), ("files",), ("archives",), ("documents",),
    ("quantities",), ("plain",), ("run_folder",), ("extras",), ("plugins",), ("private_network",), ("sandbox",),
    ("location",), ("worker",), ("model",), ("network",), ("channels",), ("scheme",), ("grid",), ("ranges",),
    ("artifact",), ("report",), ("words",), ("cache",), ("worker_main",), ("data",), ("manifest",), ("recipe",),
    ("frameworks",), ("training",), ("steps",), ("convert",), ("verify",), ("profiling",), ("choice",), ("render",),
    ("gate",), ("pipeline",), ("diagnosis",), ("api",), ("cli",), ("testing",),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
FRAMEWORKS = {"tensorflow", "tf_keras", "keras", "torch", "coremltools", "onnx", "onnxruntime", "tf2onnx",
              "ai_edge_litert", "ai_edge_quantizer", "tensorflow_model_optimization"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path, *, late: bool) -> set[str]:
    """Full names that a module imports: at its top, or inside functions too; what only a type checker reads is out."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if late else iter(_at_the_top(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _at_the_top(tree: ast.Module) -> list[ast.stmt]:
    return [node for node in tree.body if not isinstance(node, ast.If)]


def stage(path: Path) -> str:
    part = path.relative_to(ROOT / "mlopt").parts[0]
    return part.removesuffix(".py")


@pytest.mark.parametrize("path", modules("mlopt"), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_stage_imports_only_what_stands_before_it(path):
    here = stage(path)
    if here == "__init__":
        return
    assert here in RANK, f"{here} has no place in the order: give it one here and in design.md"
    for name in imports(path, late=False):
        parts = name.split(".")
        if parts[0] == "mlopt" and len(parts) > 1 and parts[1] in RANK:
            assert RANK[parts[1]] <= RANK[here], f"{here} imports {name}, which stands after it"


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


def test_importing_mlopt_and_its_command_line_loads_no_framework_and_no_numpy():
    code = f"import mlopt, mlopt.cli, sys; print(sorted(set(sys.modules) & {FRAMEWORKS | {'numpy', 'scipy'}!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]"


def test_the_api_loads_no_framework():
    code = f"import mlopt.api, sys; print(sorted(set(sys.modules) & {FRAMEWORKS!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == "[]"
