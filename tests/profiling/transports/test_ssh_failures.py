import os
import signal
import socket
import threading
import time

import pytest
import sshd

from mlopt.profiling.target import TargetLost, TargetUnusable
from mlopt.profiling.transports import SshTransport


def _to(board):
    return SshTransport(sshd.HOST, config=board.config)


def test_a_board_that_dies_in_the_middle_of_a_command_is_lost(own_board):
    with _to(own_board) as transport:
        assert transport.run(["true"], timeout_s=20).status == 0
        threading.Timer(1.0, own_board.cut).start()
        with pytest.raises(TargetLost, match=r"in the middle of .*its last words: partial"):
            transport.run(["sh", "-c", "echo partial; sleep 30; echo whole"], timeout_s=20)
        assert transport.run(["echo", "back"], timeout_s=20).out == "back\n"       # it has power again


def test_a_board_that_dies_in_the_middle_of_a_push_is_lost(own_board, tmp_path):
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1 << 20))
    os.mkfifo(tmp_path / "there")                       # nobody reads it: the push waits
    with _to(own_board) as transport:
        transport.run(["true"], timeout_s=20)
        threading.Timer(1.0, own_board.cut).start()
        with pytest.raises(TargetLost, match="in the middle of"):
            transport.push(large, str(tmp_path / "there"))


def test_a_board_that_is_off_says_what_to_check(own_board):
    own_board.stop()
    with pytest.raises(TargetUnusable, match=r"cannot be reached: .*refused.*switched on"):
        _to(own_board).run(["true"], timeout_s=20)


def test_a_board_that_answered_and_is_off_now_is_lost(own_board):
    with _to(own_board) as transport:
        transport.run(["true"], timeout_s=20)
        own_board.stop()
        with pytest.raises(TargetLost, match="answered before"):
            transport.run(["true"], timeout_s=20)


def test_refused_keys_say_how_to_install_one(own_board):
    own_board.forget_client_key()
    with pytest.raises(TargetUnusable, match=r"refused this user's keys .*ssh-copy-id"):
        _to(own_board).run(["true"], timeout_s=20)


def test_another_host_key_than_known_is_refused(own_board):
    own_board.change_host_key()
    with pytest.raises(TargetUnusable, match=r"not the one this machine knows.*ssh-keygen -R"):
        _to(own_board).run(["true"], timeout_s=20)


def test_an_unknown_host_key_is_refused(own_board):
    own_board.forget_host_key()
    with pytest.raises(TargetUnusable, match=r"not known to this machine.*confirm the key"):
        _to(own_board).run(["true"], timeout_s=20)


def test_a_name_that_nobody_knows_is_said(shared_board):
    with pytest.raises(TargetUnusable, match="name is not known"):
        SshTransport("no-such-board.invalid", config=shared_board.config).run(["true"], timeout_s=20)


def test_a_port_that_accepts_and_says_nothing_is_given_up(shared_board):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        started = time.monotonic()
        transport = SshTransport(f"127.0.0.1:{mute.getsockname()[1]}", config=shared_board.config, connect_timeout_s=2)
        with pytest.raises(TargetUnusable, match="no answer within 2 s"):
            transport.run(["true"], timeout_s=20)
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("odd", ["-oProxyCommand=id", "a b", "user@", "host:port", "", "host;id", "-l@host"])
def test_destinations_that_ssh_would_read_as_something_else_are_refused(odd):
    with pytest.raises(ValueError, match="an ssh destination is"):
        SshTransport(odd)


def test_commands_share_one_connection_and_close_ends_it(own_board):
    with _to(own_board) as transport:
        for _ in range(3):
            transport.run(["true"], timeout_s=20)
        log = (own_board.folder / "sshd.log").read_text()
        assert log.count("Accepted publickey") == 1
        assert own_board.cut() == 1                     # the shared one, and no other
    with _to(own_board) as transport:
        transport.run(["true"], timeout_s=20)
    until = time.monotonic() + 5
    while own_board.cut() and time.monotonic() < until:
        time.sleep(0.1)
    assert own_board.cut() == 0


def test_where_no_socket_fits_each_command_connects_by_itself(own_board, tmp_path, monkeypatch):
    (tmp_path / ("long" * 20)).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("long" * 20)))
    with _to(own_board) as transport:
        assert transport.run(["echo", "one"], timeout_s=20).out == "one\n"
        assert transport.run(["echo", "two"], timeout_s=20).out == "two\n"
    assert (own_board.folder / "sshd.log").read_text().count("Accepted publickey") == 2
    assert list((tmp_path / ("long" * 20)).iterdir()) == []


def test_an_account_without_a_shell_is_told_in_its_own_words(own_board):
    _add(own_board, "ForceCommand echo This account is currently not available.; exit 1")
    with pytest.raises(TargetUnusable, match=r"ssh gave up: This account is currently not available"):
        _to(own_board).run(["true"], timeout_s=20)


def _add(board, setting):
    with (board.folder / "sshd_config").open("a") as configuration:
        configuration.write(setting + "\n")
    started = (board.folder / "sshd.log").read_text().count("Server listening")
    board.process.send_signal(signal.SIGHUP)            # read the configuration again
    until = time.monotonic() + 10
    while (board.folder / "sshd.log").read_text().count("Server listening") == started and time.monotonic() < until:
        time.sleep(0.05)


def test_what_a_login_prints_is_no_part_of_the_output(own_board):
    _add(own_board, 'ForceCommand echo Welcome; eval "$SSH_ORIGINAL_COMMAND"')
    with _to(own_board) as transport:
        assert transport.run(["echo", "hello"], timeout_s=20).out == "hello\n"
