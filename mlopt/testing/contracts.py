"""Contracts: a test class for each extension point. Subclass it, give it your object, and pytest checks it."""

import numpy as np

from mlopt.data.source import Kind, Source


class SourceContract:
    """What every reader of data promises. A subclass gives a fixture `source`, an open `mlopt.data.source.Source`."""

    def test_the_count_is_the_number_of_rows_read(self, source: Source) -> None:
        assert source.count > 0
        assert _lengths(_read(source, None, 1024)) == {name: source.count for name in _readable(source)}

    def test_no_batch_is_larger_than_asked_for_and_none_is_empty(self, source: Source) -> None:
        for size in (1, 3):
            lengths = [len(values) for rows in source.read(_readable(source), batch=size) for values in rows.values()]
            assert lengths and min(lengths) >= 1 and max(lengths) <= size

    def test_the_same_rows_come_whatever_the_batch_size(self, source: Source) -> None:
        whole = _read(source, None, 1024)
        for size in (1, 2, 5):
            _assert_equal(_read(source, None, size), whole)

    def test_reading_again_gives_the_same_rows(self, source: Source) -> None:
        _assert_equal(_read(source, None, 4), _read(source, None, 4))

    def test_chosen_rows_are_those_rows_of_a_full_read(self, source: Source) -> None:
        whole = _read(source, None, 1024)
        last = source.count - 1
        for rows in ([0], [last], list(range(0, source.count, 2)), sorted({0, source.count // 2, last})):
            for size in (2, 1024):
                picked = _read(source, np.array(rows), size)
                _assert_equal(picked, {name: values[rows] for name, values in whole.items()})

    def test_a_column_read_alone_is_aligned_with_the_others(self, source: Source) -> None:
        together = _read(source, None, 1024)
        for name in _readable(source):
            alone = np.concatenate([rows[name] for rows in source.read([name])])
            _assert_equal({name: alone}, {name: together[name]})

    def test_columns_have_the_kind_shape_and_dtype_that_they_announce(self, source: Source) -> None:
        python_type = {Kind.IMAGE: bytes, Kind.RAW: bytes, Kind.TEXT: str}
        for name, values in _read(source, None, 1024).items():
            column = source.columns[name]
            if column.kind is Kind.ARRAY:
                assert (values.shape[1:], values.dtype.name) == (column.shape, column.dtype)
            else:
                assert values.ndim == 1 and all(isinstance(value, python_type[column.kind]) for value in values)

    def test_changing_a_batch_changes_nothing_read_later(self, source: Source) -> None:
        before = _read(source, None, 1024)
        for rows in source.read(_readable(source), batch=2):
            for values in rows.values():
                values[:] = values[::-1].copy()
                if values.dtype != object:
                    values[:] = 0
        _assert_equal(_read(source, None, 1024), before)

    def test_splits_are_separate_stretches_of_the_rows(self, source: Source) -> None:
        rows = [row for split in source.splits.values() for row in split]
        assert len(rows) == len(set(rows)) and all(0 <= row < source.count for row in rows)

    def test_every_row_has_a_name(self, source: Source) -> None:
        names = [source.row_name(row) for row in range(source.count)]
        assert len(set(names)) == source.count and all(names)


def _readable(source: Source) -> list[str]:
    return [name for name, column in source.columns.items() if column.kind is not Kind.OTHER]


def _read(source: Source, rows: np.ndarray | None, batch: int) -> dict[str, np.ndarray]:
    blocks = list(source.read(_readable(source), rows, batch=batch))
    return {name: np.concatenate([block[name] for block in blocks]) for name in _readable(source)}


def _lengths(columns: dict[str, np.ndarray]) -> dict[str, int]:
    return {name: len(values) for name, values in columns.items()}


def _assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values.shape == expected[name].shape and values.dtype == expected[name].dtype, name
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
