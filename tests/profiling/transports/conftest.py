import platform

import adb_server
import pytest
import sshd
from adb_device import AdbDevice
from needs import needs_hardware, needs_program

from mlopt.profiling.transports import AdbTransport, LocalTransport, SshTransport


@pytest.fixture(scope="session")
def shared_board(tmp_path_factory):
    """A board for tests that leave it as it was."""
    needs_program("ssh", "ssh-keygen", "sshd")
    with sshd.board(tmp_path_factory.mktemp("board")) as running:
        yield running


@pytest.fixture
def own_board(tmp_path):
    """A board for tests that break it."""
    needs_program("ssh", "ssh-keygen", "sshd")
    with sshd.board(tmp_path / "board") as running:
        yield running


@pytest.fixture(scope="session")
def ssh_transport(shared_board):
    with SshTransport(sshd.HOST, config=shared_board.config) as transport:
        yield transport


@pytest.fixture(scope="session")
def adb(tmp_path_factory):
    """The address of an adb server of our own."""
    needs_program("adb")
    with adb_server.adb_server(tmp_path_factory.mktemp("adb")) as address:
        yield address


@pytest.fixture
def phone(adb, tmp_path):
    """A phone for tests that break it."""
    with AdbDevice(folder=tmp_path / "phone").running() as device:
        yield device


@pytest.fixture(scope="session")
def shared_phone(adb, tmp_path_factory):
    with AdbDevice(folder=tmp_path_factory.mktemp("phone")).running() as device:
        yield device


@pytest.fixture(scope="session")
def phone_like_this_host():
    """The native runner is built here for the phone that this host plays."""
    needs_hardware(platform.machine() == "x86_64", "an x86_64 processor, for a runner that a phone gets")
    needs_program("cc")


@pytest.fixture(params=["host", "ssh", "adb"])
def road(request, tmp_path):
    """Each transport, with a folder on its device."""
    if request.param == "host":
        transport = LocalTransport()
    elif request.param == "ssh":
        transport = request.getfixturevalue("ssh_transport")
    else:
        device = request.getfixturevalue("phone")
        transport = AdbTransport(device.serial, server=request.getfixturevalue("adb"))
    folder = tmp_path / "phone" / "tmp" if request.param == "adb" else tmp_path / "there"
    folder.mkdir(exist_ok=True)
    return transport, str(folder)
