"""Files that are whole or absent."""

import gzip
import hashlib
import os
import zlib
from pathlib import Path

import pytest

from mlopt import files
from mlopt.errors import OutputUnwritable


def test_a_failing_block_leaves_no_folder_behind(tmp_path):
    with pytest.raises(RuntimeError), files.new_folder(tmp_path / "entry") as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_with_all_that_was_written_in_it(tmp_path):
    with files.new_folder(tmp_path / "deep" / "entry") as folder:
        (folder / "a").write_text("x")
        assert not (tmp_path / "deep" / "entry").exists()
    assert (tmp_path / "deep" / "entry" / "a").read_text() == "x"


def test_the_first_of_two_writers_of_one_entry_stays(tmp_path):
    with files.new_folder(tmp_path / "entry") as slow:
        (slow / "who").write_text("slow")
        with files.new_folder(tmp_path / "entry") as fast:
            (fast / "who").write_text("fast")
    assert (tmp_path / "entry" / "who").read_text() == "fast"
    assert len(list(tmp_path.iterdir())) == 1


def test_replacing_a_folder_leaves_the_new_one_only(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    files.replace_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "who").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_replacing_works_where_the_system_cannot_exchange_names(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchanged", lambda a, b: False)
    test_replacing_a_folder_leaves_the_new_one_only(tmp_path)


def test_a_folder_that_cannot_be_renamed_gets_the_new_content_and_nothing_else(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "who").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    new = tmp_path / ".new"
    (new / "deep").mkdir(parents=True)
    (new / "deep" / "who").write_text("new")
    files.replace_content(new, tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["deep", "deep/who"]


def test_a_folder_is_filled_in_place_only_where_it_is_mounted_or_its_parent_is_closed(tmp_path):
    (tmp_path / "plain").mkdir()
    assert not files.staged_inside(tmp_path / "plain") and not files.staged_inside(tmp_path / "missing")
    assert files.staged_inside(Path("/proc"))


def test_the_digest_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_the_digest_of_a_folder_depends_on_names_and_contents_and_not_on_order_or_time(tmp_path):
    one, two, renamed = tmp_path / "one", tmp_path / "two", tmp_path / "renamed"
    for folder, names in ((one, "ab"), (two, "ba"), (renamed, "ac")):
        folder.mkdir()
        for name in names:
            (folder / name).write_text("b" if name == "c" else name)
    os.utime(two / "a", (0, 0))
    assert files.digest(one) == files.digest(two) != files.digest(renamed)


def test_zipped_size_is_what_zlib_gives_at_its_best(tmp_path):
    content = b"weights " * 5000
    (tmp_path / "a").write_bytes(content)
    assert files.zipped_size(tmp_path / "a") == len(zlib.compress(content, 9))
    assert abs(files.zipped_size(tmp_path / "a") - len(gzip.compress(content, 9))) <= 12


def test_a_disk_too_small_is_refused_with_both_figures(tmp_path):
    with pytest.raises(OutputUnwritable, match=r"bytes are free and about 1,000,000,000,000,000,000 are needed"):
        files.check_writable(tmp_path, needs_bytes=10**18)


def test_a_file_where_a_folder_should_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable):
        files.check_writable(tmp_path / "file" / "folder")


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path):
    target = tmp_path / "report"
    target.write_text("old")
    with pytest.raises(TypeError):
        files.write_atomically(target, "text, not bytes")
    assert target.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_pipe_is_neither_waited_for_nor_left_out_of_a_digest(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(files.NotRegular, match="a named pipe, where a regular file is needed"):
            files.digest(path)


def test_a_device_is_not_read(tmp_path):
    (tmp_path / "endless").symlink_to("/dev/zero")
    with pytest.raises(files.NotRegular, match="a device"):
        files.digest(tmp_path)


def test_a_name_that_is_not_utf8_has_a_digest_too(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_bytes(b"abc")
    expected = b"caf\xe9\0" + hashlib.sha256(b"abc").hexdigest().encode()
    assert files.digest(tmp_path) == hashlib.sha256(expected).hexdigest()


def test_what_takes_the_place_of_a_file_while_it_is_opened_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc")
    seen = (tmp_path / "a").stat()
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    monkeypatch.setattr(Path, "stat", lambda self: seen)        # as it was a moment ago
    with pytest.raises(files.NotRegular, match="a named pipe"):
        files.open_regular(tmp_path / "a")
