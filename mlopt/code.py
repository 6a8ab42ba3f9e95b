"""Which code a stage runs: the closure of its imports. A result is made again when that code changes, and only then.

A module counts by what it compiles to: its docstrings, comments and line numbers decide nothing. What only a type
checker imports is left out. Functions that doors name as text, "package.module:function", are followed like imports.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType

import msgspec

from mlopt import extras, files, plain, plugins

Function = Callable[..., object] | str      # itself, or "package.module:function" where its module is heavy

_NAMED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_COMPUTES = ("numpy", "scipy", "pillow", "pyarrow")     # libraries that any stage may compute with


INDEX = "code.json"


@dataclass(frozen=True)
class _Module:
    changed: int                    # when the file last changed in any way, in ns
    size: int
    digest: str
    names: tuple[str, ...]          # full names that it imports or names as text


@dataclass(frozen=True)
class _Kept:
    read_by: str                    # this module: what it reads out of a file may change
    python: str                     # bytecode differs from one to the next
    modules: dict[str, _Module]     # by file


@dataclass
class _Index:
    """What is known of files that have not changed since: parsing all of a stage's modules takes most of a second."""

    place: Path | None = None
    modules: dict[str, _Module] = field(default_factory=dict)
    is_kept: bool = True


_index = _Index()


def digest(functions: Iterable[Function], packages: Iterable[str] = ()) -> str:
    """sha256 of the modules that these functions run, of the interpreter, and of the versions of `packages`.

    Only code of mlopt and of what is plugged into it counts by content; every other library counts by version.
    """
    versions = {package: _version(package) for package in {*packages, *_COMPUTES}}
    whole = hashlib.sha256(json.dumps([sys.version, versions], sort_keys=True).encode())
    for module, file in sorted(closure(functions).items()):
        whole.update(f"{module}\0{_read(file, module).digest}\0".encode())
    _keep()
    return whole.hexdigest()


def name_of(function: Function) -> str:
    """How a worker is told which function to call.

    >>> name_of(name_of)
    'mlopt.code:name_of'
    """
    return function if isinstance(function, str) else f"{function.__module__}:{function.__qualname__}"


def remember_in(folder: Path) -> None:
    """Keep what is parsed from here on in `folder`, for the processes that come after, and use what they kept there."""
    _index.place = folder / INDEX
    with contextlib.suppress(OSError, ValueError, msgspec.ValidationError):
        kept = plain.from_plain(json.loads(_index.place.read_bytes()), _Kept)
        if (kept.python, kept.read_by) == (sys.version, _this_module()):
            _index.modules = kept.modules | _index.modules


def _keep() -> None:
    if _index.is_kept or _index.place is None:
        return
    _index.is_kept = True
    with contextlib.suppress(OSError):          # a worker may not write there; the next caller parses again
        text = json.dumps(plain.to_plain(_Kept(python=sys.version, read_by=_this_module(), modules=_index.modules)))
        files.write_atomically(_index.place, text.encode())


@functools.cache
def _this_module() -> str:
    return files.digest(Path(__file__))


def closure(functions: Iterable[Function]) -> dict[str, Path]:
    """The file of every module that these functions import, late or as text, by the module's name."""
    found: dict[str, Path] = {}
    waiting = [name_of(function).partition(":")[0] for function in functions]
    while waiting:
        module, file = _found(waiting.pop())
        if file is not None and module not in found:
            found[module] = file
            waiting += _read(file, module).names
    return found


_version = functools.cache(extras.version)


@functools.cache
def _sources() -> Mapping[str, Path]:
    """Folder, or one file, of each top-level package whose content counts."""
    return {"mlopt": Path(__file__).parent, **plugins.sources()}


@functools.cache
def _found(name: str) -> tuple[str, Path | None]:
    """The module that `name` is, or that it is an attribute of; None where it is none of ours."""
    top, *parts = name.split(".")
    place = _sources().get(top)
    if place is None or place.is_file():
        return top, place
    while True:
        here = place.joinpath(*parts)
        for file in (here / "__init__.py", here.with_suffix(".py")):
            if file.is_file() and (parts or file.name == "__init__.py"):
                return ".".join([top, *parts]), file
        if not parts:
            return top, None
        parts.pop()


def _read(file: Path, module: str) -> _Module:
    seen = file.stat()
    known = _index.modules.get(str(file))
    if known is None or (known.changed, known.size) != (seen.st_ctime_ns, seen.st_size):
        known = _parsed(file, module, seen)
        _index.modules[str(file)] = known
        _index.is_kept = False
    return known


def _parsed(file: Path, module: str, seen: os.stat_result) -> _Module:
    tree = ast.parse(file.read_bytes())
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    names = tuple(sorted(set(_names(tree, package))))
    for node in ast.walk(tree):
        _drop_docstring(node)
    whole = hashlib.sha256()
    _add(whole.update, compile(ast.fix_missing_locations(tree), "module", "exec", dont_inherit=True))
    return _Module(changed=seen.st_ctime_ns, size=seen.st_size, digest=whole.hexdigest(), names=names)


def _names(tree: ast.AST, package: str) -> Iterator[str]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _asks_type_checker(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAMED.fullmatch(node.value):
            yield node.value.partition(":")[0]
        waiting += ast.iter_child_nodes(node)


def _asks_type_checker(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _drop_docstring(node: ast.AST) -> None:
    if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        match node.body:
            case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                node.body = rest or [ast.Pass()]


def _add(update: Callable[[bytes], None], code: CodeType) -> None:
    """What a code object does: instructions and what they name, without places in the file."""
    described = (code.co_name, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags,
                 code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    update(f"{described}\0".encode() + code.co_code + getattr(code, "co_exceptiontable", b""))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add(update, constant)
        else:
            update(f"{type(constant).__name__} {_told(constant)}\0".encode())


def _told(constant: object) -> str:
    """A constant as text that is the same in every process."""
    return str(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)
