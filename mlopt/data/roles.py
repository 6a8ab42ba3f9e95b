"""Which column feeds which input, which one is the label, which are slices; and what is left unused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlopt.data.source import Column, Kind, Source
from mlopt.errors import DataMismatch
from mlopt.model import Signature, TensorSpec

# In order of preference; matched without regard to case.
INPUT_NAMES = (
    "x", "image", "images", "input", "inputs", "data", "features", "pixels", "img", "image/encoded", "image_raw",
    "audio", "samples",
)
LABEL_NAMES = (
    "label", "labels", "y", "target", "targets", "image/class/label", "class_id", "category", "fine_label", "class",
)


@dataclass(frozen=True, kw_only=True)
class Roles:
    inputs: Mapping[str, str]           # the model's input -> column
    label: str | None                   # column
    slices: tuple[str, ...]             # columns that were asked for
    maybe_slices: tuple[str, ...]       # text columns: slices if they turn out to have few different values
    unused: tuple[str, ...]


def assign(source: Source, signature: Signature, slice_columns: Sequence[str] = ()) -> Roles:
    """Match columns by name, then by type; raises `DataMismatch` where no choice, or more than one, is left."""
    columns = source.columns
    unknown = [name for name in slice_columns if name not in columns]
    if unknown:
        raise DataMismatch(
            source.text, "the slice column " + ", ".join(unknown), _listed(columns), "Name a column that is there."
        )
    label = _label(columns, {spec.name for spec in signature.inputs}, slice_columns)
    free = {n: c for n, c in columns.items() if n != label and n not in slice_columns and c.kind is not Kind.OTHER}
    inputs = _inputs(source, signature.inputs, free)
    taken = {*inputs.values(), *slice_columns, label}
    texts = tuple(n for n, c in columns.items() if n not in taken and c.kind is Kind.TEXT)
    return Roles(
        inputs=inputs,
        label=label,
        slices=tuple(slice_columns),
        maybe_slices=() if slice_columns else texts,
        unused=tuple(n for n in columns if n not in taken and (slice_columns or n not in texts)),
    )


def plain_name(name: str) -> str:
    """An input's name without what frameworks hang on it.

    >>> plain_name("serving_default_image:0"), plain_name("Image")
    ('image', 'image')
    """
    return name.removeprefix("serving_default_").partition(":")[0].lower()


def _label(columns: Mapping[str, Column], inputs: set[str], slices: Sequence[str]) -> str | None:
    by_name = {name.lower(): name for name, c in columns.items() if c.kind in (Kind.ARRAY, Kind.TEXT)}
    for candidate in LABEL_NAMES:
        name = by_name.get(candidate)
        if name is not None and name not in inputs and name not in slices:
            return name
    return None


def _inputs(source: Source, specs: Sequence[TensorSpec], free: Mapping[str, Column]) -> dict[str, str]:
    numeric = {n: c for n, c in free.items() if c.kind is not Kind.TEXT}
    by_name = {plain_name(n): n for n in numeric}
    found = {s.name: n for s in specs if (n := s.name if s.name in numeric else by_name.get(plain_name(s.name)))}
    missing = [s for s in specs if s.name not in found]
    if not missing:
        return found
    if len(specs) == 1:
        return {specs[0].name: _only_input(source, specs[0], numeric)}
    wanted = "the inputs " + "; ".join(s.describe() for s in specs)
    raise DataMismatch(
        source.text, wanted, "; ".join([_listed(source.columns), *source.notes]),
        f"Missing: {', '.join(s.name for s in missing)}. Name the columns after the model's inputs.",
    )


def _only_input(source: Source, spec: TensorSpec, numeric: Mapping[str, Column]) -> str:
    by_name = {name.lower(): name for name in numeric}
    for candidate in INPUT_NAMES:
        if candidate in by_name:
            return by_name[candidate]
    with_rows = [n for n, c in numeric.items() if c.kind in (Kind.IMAGE, Kind.RAW) or c.shape]
    if len(with_rows) == 1:
        return with_rows[0]
    if not with_rows and len(numeric) == 1:
        return next(iter(numeric))
    raise DataMismatch(
        source.text, f"one input {spec.describe()}", "; ".join([_listed(source.columns), *source.notes]),
        f"Name the column that feeds it '{spec.name}'.",
    )


def _listed(columns: Mapping[str, Column]) -> str:
    return "the columns " + ", ".join(c.describe() for c in columns.values()) if columns else "no columns"


def label_as_slice(roles: Roles) -> Roles:
    """The same, with the label column as one that groups samples."""
    assert roles.label is not None
    return replace(roles, label=None, slices=(*roles.slices, roles.label))
