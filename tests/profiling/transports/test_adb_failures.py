import os
import time

import pytest
from adb_device import AdbDevice

from mlopt.profiling.target import TargetLost, TargetUnusable
from mlopt.profiling.transports import AdbTransport
from mlopt.profiling.transports.call import call


def _to(device, adb, **settings):
    return AdbTransport(device.serial, server=adb, **settings)


@pytest.mark.parametrize("shell_v2", [True, False])
def test_a_phone_that_dies_in_the_middle_of_a_command_is_lost(adb, tmp_path, shell_v2):
    with AdbDevice(folder=tmp_path, shell_v2=shell_v2).running() as device:
        transport = _to(device, adb)
        assert transport.run(["true"], timeout_s=20).status == 0
        device.turn(dies_during="partial")
        started = time.monotonic()
        with pytest.raises(TargetLost, match=r"in the middle of|answered before"):
            transport.run(["sh", "-c", "echo partial; sleep 30; echo whole"], timeout_s=20)
        assert time.monotonic() - started < 15
        with pytest.raises(TargetLost, match="answered before"):
            transport.run(["true"], timeout_s=20)


def test_what_adb_says_of_a_phone_that_died_is_not_what_we_go_by(adb, tmp_path):
    """adb 29.0.6 ends with 0 and with whatever arrived; later ones may not. A dead phone is lost in any case."""
    with AdbDevice(folder=tmp_path).running() as device:
        _to(device, adb).run(["true"], timeout_s=20)
        device.turn(dies_during="partial")
        script = "echo partial; sleep 30"
        called = call(["adb", "-L", adb, "-s", device.serial, "shell", script], timeout_s=20)
        assert not called.timed_out and called.out in (b"partial\n", b"")
    with AdbDevice(folder=tmp_path).running() as device:
        transport = _to(device, adb)
        transport.run(["true"], timeout_s=20)
        device.turn(dies_during="partial")
        with pytest.raises(TargetLost):
            transport.run(["sh", "-c", script], timeout_s=20)


def test_a_phone_that_vanished_before_a_push_is_lost(adb, phone, tmp_path):
    (tmp_path / "file").write_bytes(os.urandom(100_000))
    transport = _to(phone, adb)
    transport.run(["true"], timeout_s=20)
    phone.die()
    with pytest.raises(TargetLost, match="answered before"):
        transport.push(tmp_path / "file", str(phone.tmp / "file"))


def test_an_unauthorised_phone_says_to_confirm_on_its_screen(adb, phone):
    phone.turn(unauthorised=True)
    with pytest.raises(TargetUnusable, match=r"not authorised this computer.*Unlock it and confirm"):
        _to(phone, adb).run(["true"], timeout_s=20)


def test_an_offline_phone_is_unusable_within_its_time(adb, phone):
    phone.turn(offline=True)
    started = time.monotonic()
    with pytest.raises(TargetUnusable, match="offline"):
        _to(phone, adb, connect_timeout_s=2).run(["true"], timeout_s=20)
    assert time.monotonic() - started < 15


def test_a_phone_that_stops_answering_is_lost_within_the_time(adb, phone):
    transport = _to(phone, adb)
    transport.run(["true"], timeout_s=20)
    phone.turn(stops_answering=True)
    started = time.monotonic()
    with pytest.raises(TargetLost, match="no answer within 2 s"):
        transport.run(["true"], timeout_s=2)
    assert time.monotonic() - started < 10


def test_a_slow_link_is_waited_for(adb, phone, tmp_path):
    phone.turn(bytes_per_s=150_000)
    sent = tmp_path / "file"
    sent.write_bytes(os.urandom(150_000))
    transport = _to(phone, adb)
    started = time.monotonic()
    transport.push(sent, str(phone.tmp / "file"))
    transport.pull(str(phone.tmp / "file"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == sent.read_bytes() and time.monotonic() - started > 1.8


def test_a_link_too_slow_for_the_time_given_is_lost(adb, phone):
    transport = _to(phone, adb)
    transport.run(["true"], timeout_s=20)
    phone.turn(bytes_per_s=20_000)
    started = time.monotonic()
    with pytest.raises(TargetLost, match=r"had not ended after 2 s|no answer within 2 s"):
        transport.run(["head", "-c", "1000000", "/dev/zero"], timeout_s=2)
    phone.turn(bytes_per_s=float("inf"))
    assert time.monotonic() - started < 25


def test_a_serial_that_is_not_listed_is_said(adb):
    with pytest.raises(TargetUnusable, match=r"does not list it.*USB debugging"):
        AdbTransport("NOTHERE", server=adb).run(["true"], timeout_s=20)


def test_an_address_where_nobody_listens_is_said(adb):
    with pytest.raises(TargetUnusable, match=r"does not list it|offline"):
        AdbTransport("127.0.0.1:1", server=adb, connect_timeout_s=2).run(["true"], timeout_s=20)


def test_of_two_phones_the_one_named_is_asked(adb, phone, shared_phone):
    for device in (phone, shared_phone):
        assert _to(device, adb).run(["pwd"], timeout_s=20).out.strip() == str(device.tmp)


def test_a_phone_that_comes_back_is_found_again(adb, phone):
    transport = _to(phone, adb)
    transport.run(["true"], timeout_s=20)
    call(["adb", "-L", adb, "disconnect", phone.serial], timeout_s=10)
    with pytest.raises(TargetLost):
        transport.run(["true"], timeout_s=20)
    assert transport.run(["echo", "back"], timeout_s=20).out == "back\n"


@pytest.mark.parametrize("odd", ["-e", "a b", "", "x;y", "--help"])
def test_serials_that_adb_would_read_as_something_else_are_refused(odd):
    with pytest.raises(ValueError, match="an adb serial is"):
        AdbTransport(odd)


def test_the_fixture_answers_the_rest_of_the_protocol(adb, shared_phone):
    _to(shared_phone, adb).run(["true"], timeout_s=20)
    (shared_phone.tmp / "listed").write_bytes(b"12345")

    def ask(*words):
        return call(["adb", "-L", adb, "-s", shared_phone.serial, *words], timeout_s=20)

    listed = [line.split() for line in ask("ls", str(shared_phone.tmp)).out.decode().splitlines()]
    assert ["00000005", "listed"] in [[line[1], line[3]] for line in listed]
    (shared_phone.tmp / "ends").write_bytes(b"\r\n\n")
    assert ask("exec-out", "cat", str(shared_phone.tmp / "ends")).out == b"\r\n\n"
    assert ask("shell", "getprop ro.product.model").out == b"Pixel 7\n"
    assert b"Starting: Intent" in ask("shell", "am start -n org.mlopt.demo/.Bench").out
    assert b"benchmark finished" in ask("shell", "logcat -d").out
    assert ask("shell", "taskset f0 echo pinned").out == b"pinned\n"
