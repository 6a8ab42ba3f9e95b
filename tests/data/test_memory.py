"""Reading a file has a ceiling, and a Python entry has none."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading_process import ReadingProcess

from mlopt.data import memory
from mlopt.errors import DataUnreadable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's private memory")


def limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_DATA)


def test_a_file_that_takes_more_is_refused_and_the_limit_is_what_it_was(tmp_path):
    before = limits()
    with pytest.raises(DataUnreadable, match=r"a.npz: reading it takes more than 67,108,864 bytes of memory"), \
            memory.bounded(["a.npz"], 64 << 20):
        assert limits() != before
        np.ones(32 << 20)                   # of 8 bytes each
    assert limits() == before


READ = """
import sys
from mlopt.data import memory
from mlopt.data.opening import open_source
with memory.bounded(sys.argv[1:2], int(sys.argv[2])):
    print(open_source(sys.argv[1]).columns["x"].shape)
"""


@pytest.mark.parametrize(("budget", "said"), [(1 << 30, "(16777216,)"), (64 << 20, "DataUnreadable")])
def test_what_a_native_library_takes_on_a_files_word_counts(tmp_path, budget, said):
    """Equal values pack to nothing; what the file says of their number is true, so that nothing else refuses it."""
    values = pa.array(np.zeros(16 << 20))
    table = pa.table({"x": pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 1 << 20
    read = subprocess.run(
        [sys.executable, "-c", READ, tmp_path / "a.parquet", str(budget)], capture_output=True, text=True, check=False
    )
    assert said in (read.stdout + read.stderr).splitlines()[-1]


def test_files_are_bounded_and_what_the_users_own_code_takes_is_not(tmp_path):
    before = limits()
    with memory.bounded_for(["package.module:function", None]):
        assert limits() == before
    Path(tmp_path / "a:b").write_bytes(b"x")
    with memory.bounded_for([str(tmp_path / "a:b"), None]):
        assert limits()[0] <= memory.BUDGET + (64 << 30) and limits() != before


def test_a_word_that_a_thousand_rows_refer_to_is_not_unpacked_a_thousand_times(tmp_path):
    """What the file declares is its dictionary: 20 MB. Arrow would make 20 GB of it."""
    word = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array(["a" * 20_000_000]))
    table = pa.table({"x": np.zeros((1000, 48), np.float32).tolist(), "device": word})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", dictionary_pagesize_limit=1 << 30)
    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    reading = ReadingProcess()
    found = reading.read(tmp_path / "a.parquet", tmp_path / "entry")
    reading.close()
    assert "reading it takes more than 4,294,967,296 bytes of memory" in found["said"]
    assert found["peak_bytes"] < 1 << 30 and not (tmp_path / "entry").exists()
