"""Only regular files are read, none that lies outside of the folder that was named, and nothing is waited for."""

import io
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlopt.data.identity import identity
from mlopt.data.opening import open_source
from mlopt.data.reading import files_below, open_file
from mlopt.errors import DataUnreadable

pytestmark = pytest.mark.timeout(30)        # each of these waited for ever once


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)                   # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def device_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "gone")


def link_round(path: Path) -> None:
    path.symlink_to(path)


def link_outside(path: Path) -> None:
    path.symlink_to("/etc/passwd")


ENTRIES = {
    pipe: "is a named pipe", bound_socket: "is a socket", device_link: "is a link to a device",
    link_to_nothing: "is a link to nothing", link_round: "is a link that leads nowhere",
    link_outside: r"is a link to a file outside of the folder \(/etc/passwd\)",
}


@pytest.mark.parametrize("name", ["cats/2.png", "train.parquet", "train.tfrecord", "notes.txt"])
@pytest.mark.parametrize("make", ENTRIES, ids=lambda make: make.__name__)
def test_a_folder_that_holds_anything_else_than_its_own_files_is_refused(tmp_path, make, name):
    folder = tmp_path / "data"
    picture(folder / "cats/1.png")
    make(folder / name)
    for look in (open_source, identity):
        with pytest.raises(DataUnreadable, match=f"data: {name} {ENTRIES[make]}"):
            look(str(folder))


@pytest.mark.parametrize("make", [pipe, bound_socket, device_link])
def test_a_source_that_is_no_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / "a.npz")
    for look in (open_source, identity):
        with pytest.raises(DataUnreadable, match=r"a.npz: it is a (named pipe|socket|device), where a regular"):
            look(str(tmp_path / "a.npz"))


def test_a_link_is_followed_where_the_user_named_it(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((3, 2)))
    (tmp_path / "named.npz").symlink_to(tmp_path / "a.npz")
    assert open_source(tmp_path / "named.npz").count == 3


def test_a_link_to_another_file_of_the_folder_counts_as_that_file(tmp_path):
    picture(tmp_path / "all/1.png")
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen/1.png").symlink_to("../all/1.png")
    source = open_source(tmp_path)
    assert [source.row_name(row) for row in range(source.count)] == ["all/1.png", "chosen/1.png"]
    images = next(source.read(["image"]))["image"]
    assert images[0] == images[1] == (tmp_path / "all/1.png").read_bytes()


def test_the_snapshot_of_a_hub_is_read_through_its_links_into_its_blobs_and_no_further(tmp_path):
    picture(tmp_path / "blobs/abc.png")
    snapshot = tmp_path / "snapshots/0123"
    (snapshot / "cats").mkdir(parents=True)
    (snapshot / "cats/1.png").symlink_to("../../../blobs/abc.png")
    images = next(open_source(snapshot).read(["image"]))["image"]
    assert list(images) == [(tmp_path / "blobs/abc.png").read_bytes()]
    picture(tmp_path / "beside.png")
    (snapshot / "cats/2.png").symlink_to("../../../beside.png")
    with pytest.raises(DataUnreadable, match=r"cats/2.png is a link to a file outside of the folder"):
        open_source(snapshot)


def test_a_folder_that_is_a_link_is_one_like_any_other_when_it_is_named(tmp_path):
    picture(tmp_path / "data/cats/1.png")
    (tmp_path / "data/cats/2.png").symlink_to("1.png")
    (tmp_path / "named").symlink_to("data")
    assert open_source(tmp_path / "named").count == 2


def test_links_to_folders_are_not_followed_and_told(tmp_path):
    picture(tmp_path / "cats/1.png")
    picture(tmp_path / "dogs/1.png")
    (tmp_path / "round").symlink_to(tmp_path)
    source = open_source(tmp_path)
    assert source.count == 2 and source.notes == ("links to folders, not followed: round",)


def test_hidden_entries_are_left_alone_whatever_they_are(tmp_path):
    picture(tmp_path / "cats/1.png")
    pipe(tmp_path / ".pipe")
    (tmp_path / ".git").mkdir()
    pipe(tmp_path / ".git/socket")
    assert open_source(tmp_path).count == 1 and identity(str(tmp_path)).startswith("sha256 ")


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "cats").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/cats/caf\xe9.png")).write_bytes(b"x")
    with pytest.raises(DataUnreadable, match=r"not UTF-8: b'caf\\xe9.png'. Rename it"):
        open_source(tmp_path)


def test_a_file_three_hundred_folders_deep_is_found(tmp_path):
    deep = tmp_path
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=descriptor)
        descriptor, above = os.open("d", os.O_RDONLY, dir_fd=descriptor), descriptor
        os.close(above)
        deep /= "d"
    (deep / "1.png").write_bytes(b"x")
    os.close(descriptor)
    assert files_below(tmp_path).files == ((deep / "1.png").relative_to(tmp_path),)


def test_what_was_a_file_when_it_was_listed_and_is_a_pipe_now_is_not_waited_for(tmp_path):
    picture(tmp_path / "cats/1.png")
    source = open_source(tmp_path)
    (tmp_path / "cats/1.png").unlink()
    pipe(tmp_path / "cats/1.png")
    with pytest.raises(DataUnreadable, match="a named pipe"):
        next(source.read(["image"]))


def test_a_file_that_vanished_after_it_was_opened_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((3, 2)))
    picture(tmp_path / "folder/a.png")
    sources = open_source(tmp_path / "a.npz"), open_source(tmp_path / "folder")
    (tmp_path / "a.npz").unlink()
    (tmp_path / "folder/a.png").unlink()
    for source in sources:
        with pytest.raises(DataUnreadable, match="No such file"):
            next(source.read(list(source.columns)))


def test_a_picture_file_larger_than_any_picture_is_not_read_to_its_end(tmp_path):
    with picture(tmp_path / "1.png").open("ab") as file:
        file.truncate(1 << 40)          # sparse: a tebibyte that costs nothing
    source = open_source(tmp_path)
    with pytest.raises(DataUnreadable, match=r"1.png has more than 257,048,576 bytes"):
        next(source.read(["image"]))


@pytest.mark.parametrize("text", ["~nobody-of-that-name/x.npz", "a\0b", "x" * 5000])
def test_text_that_no_system_can_look_up_is_refused(text):
    with pytest.raises(DataUnreadable):
        open_source(text)


def test_a_source_is_named_by_the_bytes_that_are_read_of_it(tmp_path):
    one, two = tmp_path / "one/data", tmp_path / "two/data"
    for folder in (one, two):
        picture(folder / "cats/1.png")
    (two / ".DS_Store").write_text("x")                 # no reader looks at it
    assert identity(str(one)) == identity(str(two))
    (two / "cats/1.png").write_bytes(b"another")
    assert identity(str(one)) != identity(str(two))


def test_an_opened_file_is_read_from_its_start(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with open_file(tmp_path / "a") as file:
        assert isinstance(file, io.BufferedReader) and file.read() == b"abc"
