"""Read all of an HDF5 file and say what it holds: a program of its own, as the library may crash or loop over damage.

It imports nothing of mlopt. One JSON object goes to standard output: what was found, or "refused" with the reason. All
that Keras will read is read here once, so that its own reading ends too.
"""

import json
import resource
import sys
from typing import Any

import h5py

LARGEST_PIECE = 16 << 20     # bytes of a dataset in memory at a time, where it is not packed in larger pieces
MOST_MEMORY = 2 << 30        # of this process: Keras writes each weight in one piece, which is read in parts
TRAINING_STATE = ("/optimizer", "/_optimizer", "/metrics")   # groups that Keras never needs for inference
_STORES = {"layers", "_layer_checkpoint_dependencies"}     # where files of weights alone keep them


class Refused(Exception):
    """Why the file is not opened."""


def contents(path: str, most_bytes: int) -> dict[str, Any]:
    """The attributes that Keras keeps, and the bytes of weights and of training state as they are declared.

    Raises `Refused` where an entry leads out of the file, or all together declare more than `most_bytes`.
    """
    with h5py.File(path, "r") as file:
        datasets = list(_datasets(file))
        total = sum(dataset.nbytes for _, dataset in datasets)
        if total > most_bytes:
            raise Refused(f"it declares {total:,} bytes of content")
        for _, dataset in datasets:
            _read(dataset)
        training = sum(dataset.nbytes for name, dataset in datasets if name.startswith(TRAINING_STATE))
        return {
            "config": _text(file.attrs.get("model_config")),
            "keras_version": _text(file.attrs.get("keras_version")) or "",
            "weights_only": "layer_names" in file.attrs or bool(_STORES & file.keys()),
            "weight_bytes": total - training,
            "optimizer_bytes": training,
        }


def _datasets(file: h5py.File) -> Any:
    """("/group/name", dataset) of every dataset, once; entries and attributes are looked at on the way."""
    pending, seen = [("", file)], {file.id}
    while pending:
        prefix, group = pending.pop()
        _read_attributes(group)
        for key in group:
            name = f"{prefix}/{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise Refused(f"its entry {name} points elsewhere ({type(link).__name__})")
            entry = group[key]
            if isinstance(entry, h5py.Group):
                if entry.id not in seen:
                    seen.add(entry.id)
                    pending.append((name, entry))
            elif isinstance(entry, h5py.Dataset) and entry.id not in seen:
                seen.add(entry.id)
                if entry.external or entry.is_virtual:
                    raise Refused(f"its dataset {name} reads another file")
                _read_attributes(entry)
                yield name, entry


def _read_attributes(entry: Any) -> None:
    for name in entry.attrs:
        entry.attrs[name]


def _read(dataset: h5py.Dataset) -> None:
    """Every value, a piece at a time."""
    if dataset.shape is None or not dataset.nbytes:
        return
    if not dataset.shape:
        dataset[()]
        return
    rows = max(1, LARGEST_PIECE * dataset.shape[0] // dataset.nbytes)
    for start in range(0, dataset.shape[0], rows):
        dataset[start : start + rows]


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value if value is None else str(value)


def main() -> None:
    path, most_bytes, most_seconds = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(most_seconds), int(most_seconds)))     # a loop over damage ends us
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    try:
        found = contents(path, int(most_bytes))
    except Refused as reason:
        found = {"refused": str(reason)}
    except MemoryError:
        found = {"refused": f"reading it takes more than {MOST_MEMORY >> 20:,} MiB of memory"}
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, OverflowError) as err:
        found = {"damaged": " ".join(str(err).split()) or type(err).__name__}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
