"""What a file may declare about itself, held against the bytes that it has: before anything is allocated for it."""

from pathlib import Path

from mlopt.errors import DataUnreadable

FREE_BYTES = 256 << 20      # of content may be declared by a file of any size
MOST_EXPANSION = 100        # beyond that, content to bytes on disk: samples pack 2- to 20-fold, a bomb a thousandfold
FREE_ROWS = 1_000_000       # may be declared by a file of any size; beyond that, each needs a byte on disk
LARGEST_ROW = 1 << 30       # bytes of one sample: 512 slices of a CT scan at 512 x 512 float32 are half of it


def check_unpacked(source: str | Path, declared: int, packed: int) -> None:
    """Raise `DataUnreadable` where `declared` bytes of content cannot come from an honest file of `packed` bytes."""
    if declared > max(FREE_BYTES, MOST_EXPANSION * packed):
        raise DataUnreadable(
            source, f"it declares {declared:,} bytes of content in {packed:,} bytes of file",
            f"mlopt unpacks {FREE_BYTES:,} bytes, or {MOST_EXPANSION} times what a file takes: store such data with "
            "less compression.",
        )


def check_rows(source: str | Path, rows: int, packed: int) -> None:
    """Raise `DataUnreadable` where a file of `packed` bytes cannot honestly hold `rows` rows."""
    if not 0 <= rows <= max(FREE_ROWS, packed):
        raise DataUnreadable(
            source, f"it declares {rows:,} rows in {packed:,} bytes of file",
            "It is damaged, or made to exhaust memory.",
        )


def check_row(source: str | Path, name: str, size: int) -> None:
    """Raise `DataUnreadable` where one row of the column `name` would take `size` bytes that no sample takes."""
    if size > LARGEST_ROW:
        raise DataUnreadable(
            source, f"one row of {name} takes {size:,} bytes", f"A sample takes at most {LARGEST_ROW:,} bytes."
        )
