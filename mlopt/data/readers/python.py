"""A Python entry, `package.module:function`: the user's own code, named by the user, run in the worker only.

The function takes no arguments and returns one of
  a dict of arrays, one row a sample                  {"image": x, "label": y}
  a pair (inputs, labels)                             (x, y) or ({"image": x, "extra": z}, y)
  an iterable of batches, each one of the above       a generator, a tf.data.Dataset, a torch DataLoader
  an object with the methods of `mlopt.data.source.Source`
Batches are spooled to a temporary file, since samples are chosen before they are decoded; so the iterable must end.
"""

import contextlib
import importlib
import re
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from mlopt.data.source import Column, Kind, Source, batch_rows, chosen_between
from mlopt.data.storing import octets
from mlopt.errors import DataUnreadable

LARGEST_SPOOL = 16 << 30        # bytes; an iterable that gives more has most likely no end
_ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_entry(text: str) -> bool:
    """Whether `text` names a function.

    >>> is_entry("my.data:load"), is_entry("C:/data/x.npz")
    (True, False)
    """
    return _ENTRY.fullmatch(text) is not None


def open_entry(text: str, *, largest_spool: int = LARGEST_SPOOL) -> Source:
    """Import and call the function; modules beside the current folder are found, as with `python -m`."""
    result = _called(text)
    if isinstance(result, Source):
        return result
    columns = _columns_of(result)
    if columns is not None:
        return ArraySource(text, {name: _array(text, name, value) for name, value in columns.items()})
    if isinstance(result, Iterable) and not isinstance(result, (str, bytes, np.ndarray)):
        return _spooled(text, result, largest_spool)
    if hasattr(result, "__array__"):
        return ArraySource(text, {"x": _array(text, "x", result)})
    raise DataUnreadable(
        text, f"the function returned {type(result).__name__}",
        "Return a dict of arrays, a pair (inputs, labels), or an iterable of such batches.",
    )


class ArraySource:
    """Arrays in memory, or mapped, one row a sample."""

    about = "Python entry"

    def __init__(self, text: str, arrays: Mapping[str, np.ndarray]) -> None:
        self.text = text
        self.notes: tuple[str, ...] = ()
        self.splits: Mapping[str, range] = {}
        rows = {name: len(a) if a.ndim else 0 for name, a in arrays.items()}
        if not rows or not max(rows.values()):
            raise DataUnreadable(text, "it gives no samples", "Return at least one row.")
        if len(set(rows.values())) > 1:
            listed = ", ".join(f"{name} has {count:,}" for name, count in rows.items())
            raise DataUnreadable(text, f"the arrays differ in rows: {listed}", "Each needs one row a sample.")
        self._arrays = arrays
        self.count = next(iter(rows.values()))
        self.columns: Mapping[str, Column] = {name: _column(name, array) for name, array in arrays.items()}

    def read(
        self, columns: Sequence[str], rows: np.ndarray | None = None, *, batch: int = 1024
    ) -> Iterator[dict[str, np.ndarray]]:
        step = batch_rows([self.columns[c] for c in columns], batch)
        for start in range(0, self.count, step):
            stop = min(start + step, self.count)
            local = chosen_between(rows, start, stop)
            if len(local):
                yield {c: self._taken(c, start + local) for c in columns}

    def row_name(self, row: int) -> str:
        return f"row {row}"

    def _taken(self, name: str, rows: np.ndarray) -> np.ndarray:
        taken = np.asarray(self._arrays[name][rows])
        return taken.astype(object) if self.columns[name].kind is Kind.TEXT else taken


def _called(text: str) -> Any:
    module_name, _, attribute = text.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as err:
        remedy = f"Run where `python -c 'import {module_name}'` works." if err.name in _parents(module_name) else (
            f"The entry's own imports need {err.name}."
        )
        raise DataUnreadable(text, str(err), remedy) from err
    except AttributeError as err:
        raise DataUnreadable(text, str(err), "Name a function of that module.") from err
    except Exception as err:
        raise _failed(text, "cannot be imported", err) from err
    if not callable(found):
        raise DataUnreadable(text, f"it is {type(found).__name__}, not a function", "Name a function.")
    try:
        return found()
    except Exception as err:
        raise _failed(text, "failed", err) from err


def _spooled(text: str, batches: Iterable[object], largest: int) -> ArraySource:
    """The rows of all batches, mapped from temporary files that vanish with the mapping."""
    first: dict[str, np.ndarray] = {}
    texts: dict[str, list[np.ndarray]] = {}
    rows = written = 0
    with contextlib.ExitStack() as stack:
        spools: dict[str, IO[bytes]] = {}
        for arrays in _batches(text, batches):
            first = first or arrays
            rows += _check_batch(text, arrays, first, rows)
            for name, array in arrays.items():
                if array.dtype.kind == "U":
                    texts.setdefault(name, []).append(array)
                    continue
                if name not in spools:
                    spools[name] = stack.enter_context(tempfile.TemporaryFile())
                written += spools[name].write(octets(array))
            if written > largest:
                raise DataUnreadable(
                    text, f"it gave more than {largest:,} bytes ({rows:,} rows) and had not ended",
                    "End the iteration: an endless generator cannot be sampled.",
                )
        mapped: dict[str, np.ndarray] = {name: np.concatenate(parts) for name, parts in texts.items()}
        for name, spool in spools.items():
            spool.flush()
            shape = (rows, *first[name].shape[1:])
            has_values = rows and first[name][:1].size
            mapped[name] = np.memmap(spool, first[name].dtype, "r", shape=shape) if has_values else np.empty(shape)
    return ArraySource(text, {name: mapped[name] for name in first})


def _batches(text: str, batches: Iterable[object]) -> Iterator[dict[str, np.ndarray]]:
    iterator, done = iter(batches), 0
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except Exception as err:     # the user's iterator may raise anything
            raise _failed(text, f"failed after {done:,} batches", err) from err
        pair = tuple(batch) if isinstance(batch, list) else batch      # torch's collate makes a list of each pair
        columns = _columns_of(pair) or ({"x": batch} if hasattr(batch, "__array__") else None)
        if columns is None:
            raise DataUnreadable(
                text, f"it gives {type(batch).__name__} where a batch was expected",
                "Give batches: a dict of arrays, or a pair (inputs, labels).",
            )
        yield {name: _array(text, name, value) for name, value in columns.items()}
        done += 1


def _check_batch(text: str, arrays: Mapping[str, np.ndarray], first: Mapping[str, np.ndarray], rows: int) -> int:
    """The batch's rows; every batch needs the first one's columns, shapes and dtypes."""
    for name in first.keys() | arrays.keys():
        ours, theirs = arrays.get(name), first.get(name)
        same = ours is not None and theirs is not None and ours.ndim and ours.shape[1:] == theirs.shape[1:]
        if not same or (ours.dtype != theirs.dtype and ours.dtype.kind != "U"):     # type: ignore[union-attr]
            raise DataUnreadable(
                text, f"after {rows:,} rows a batch has {name} as {_shaped(ours)}; the first one has {_shaped(theirs)}",
                "Every batch needs the same columns, shapes and dtypes.",
            )
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataUnreadable(text, f"the batch after {rows:,} rows has columns of {lengths} rows", "Give one row each.")
    return next(iter(lengths.values()))


def _columns_of(value: object) -> dict[str, object] | None:
    """Named columns of a dict or of a pair (inputs, labels); None for anything else."""
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    if isinstance(value, tuple) and 1 <= len(value) <= 2 and (isinstance(value[0], Mapping) or _is_array(value[0])):
        inputs = {str(k): v for k, v in value[0].items()} if isinstance(value[0], Mapping) else {"x": value[0]}
        return inputs | ({"label": value[1]} if len(value) == 2 else {})
    return None


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__") and getattr(value, "ndim", 1) > 0


def _array(text: str, name: str, value: object) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as err:
        raise DataUnreadable(text, f"{name} is no array ({err})", "Return numpy arrays.") from err
    if array.dtype.kind == "S" or (array.dtype == object and all(isinstance(v, str) for v in array.flat)):
        return array.astype(str)
    if array.dtype.hasobject:
        raise DataUnreadable(text, f"{name} is an array of Python objects", "Return arrays of numbers or of text.")
    return array


def _column(name: str, array: np.ndarray) -> Column:
    if array.dtype.kind in "biuf":
        return Column(name=name, kind=Kind.ARRAY, shape=array.shape[1:], dtype=array.dtype.name)
    if array.dtype.kind == "U" and array.ndim == 1:
        return Column(name=name, kind=Kind.TEXT)
    return Column(name=name, kind=Kind.OTHER, dtype=str(array.dtype))


def _failed(text: str, how: str, err: Exception) -> DataUnreadable:
    at = traceback.extract_tb(err.__traceback__)[-1]
    return DataUnreadable(text, f"{how} with {type(err).__name__}: {err} ({at.filename}, line {at.lineno})")


def _parents(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[: i + 1]) for i in range(len(parts))}


def _shaped(array: np.ndarray | None) -> str:
    return "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
