"""The header of an array, read as numpy wrote it."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from mlopt.data.readers.npy_header import read_header

dtypes = st.one_of(
    np_st.scalar_dtypes(), np_st.byte_string_dtypes(), np_st.unicode_string_dtypes(), np_st.datetime64_dtypes(),
)


@given(dtypes, np_st.array_shapes(min_dims=0, min_side=0, max_dims=6), st.booleans(), st.sampled_from([(1, 0), (2, 0)]))
def test_every_header_that_numpy_writes_is_read_as_numpy_reads_it(dtype, shape, fortran, version):
    array = np.empty(shape, dtype, order="F" if fortran else "C")
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    file.seek(0)
    assert np.lib.format.read_magic(file) == version
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    expected = read(file)
    values_at = file.tell()
    file.seek(0)
    found = read_header(file)
    assert (found.shape, found.fortran, found.dtype) == expected
    assert found.bytes == file.tell() == values_at


@pytest.mark.parametrize("shape", ["(3L,)", "(3L, 4L)"])
def test_sizes_as_python_2_wrote_them_are_read(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    found = read_header(io.BytesIO(b"\x93NUMPY\x01\x00" + bytes([len(text), 0]) + text))
    assert found.shape == ((3,) if shape == "(3L,)" else (3, 4))


@given(st.text(alphabet="{}()[]'\", :<f4descrfortran_ordershapeTrueFalse0123456789-\\n", max_size=120))
def test_any_text_is_a_header_or_a_value_error(text):
    packed = text.encode("latin1")
    with contextlib.suppress(ValueError):
        read_header(io.BytesIO(b"\x93NUMPY\x01\x00" + len(packed).to_bytes(2, "little") + packed))
