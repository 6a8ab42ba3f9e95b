"""All roads, held to one contract."""

import pytest
from adb_device import AdbDevice
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt.profiling.transports import AdbTransport, LocalTransport
from mlopt.testing.transports import TransportContract


class TestThisHost(TransportContract):
    @pytest.fixture
    def transport(self):
        return LocalTransport()

    @pytest.fixture
    def there(self, tmp_path_factory):
        return str(tmp_path_factory.mktemp("there"))


class TestABoardBySsh(TransportContract):
    @pytest.fixture
    def transport(self, ssh_transport):
        return ssh_transport

    @pytest.fixture
    def there(self, tmp_path_factory):
        return str(tmp_path_factory.mktemp("there"))


class TestAPhoneByAdb(TransportContract):
    shell_v2 = True

    @pytest.fixture(scope="class")
    @classmethod
    def device(cls, adb, tmp_path_factory):
        folder = tmp_path_factory.mktemp("phone")
        with AdbDevice(folder=folder, shell_v2=cls.shell_v2).running() as device:
            yield device

    @pytest.fixture
    def transport(self, adb, device):
        return AdbTransport(device.serial, server=adb)

    @pytest.fixture
    def there(self, device, request):
        folder = device.tmp / str(abs(hash(request.node.name)))
        folder.mkdir()
        return str(folder)

    def test_a_full_disk_is_said(self, transport, tmp_path, device):
        type(self).full = str(device.tmp / "full")
        device.turn(free_bytes=50_000)
        try:
            super().test_a_full_disk_is_said(transport, tmp_path)
        finally:
            device.turn(free_bytes=float("inf"))


class TestAnOldPhoneByAdb(TestAPhoneByAdb):
    """As before Android 7: one merged output, and no exit status of adb's own."""

    shell_v2 = False
    separate_errors = False


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_words_reach_the_command_unchanged(words):
    ran = LocalTransport().run(["printf", "%s|", *words], timeout_s=20)
    assert ran.out == "".join(f"{word}|" for word in words)
