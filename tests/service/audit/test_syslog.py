"""Tests of the way to a log server, with real sockets."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from service.audit.chain import verify
from service.audit.syslog import Syslog
from service.audit_settings import AuditSettings

CONTENT = {"time": "2026-11-24T04:00:00.000000Z", "act": "key_made"}
MESSAGE = re.compile(rb"<85>1 2026-11-24T04:00:00\.000000Z \S+ efsnet \d+ audit - (\{.*\})")


@contextmanager
def tcp_server(port: int = 0) -> Iterator[socket.socket]:
    """Something that listens."""
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(10)
        yield server


def test_datagrams_hold_one_message_each() -> None:
    """RFC 5424, and RFC 5426: a message is a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        with closing(Syslog(f"udp://127.0.0.1:{server.getsockname()[1]}")) as syslog:
            syslog.append([CONTENT, CONTENT])
        messages = [server.recv(10_000) for _ in range(2)]

    lines = [match[1] for match in map(MESSAGE.fullmatch, messages) if match]
    assert len(lines) == 2
    assert verify(lines)[1].sequence == 2


def test_a_stream_counts_the_octets_of_each_message() -> None:
    """RFC 6587 section 3.4.1, so that messages are told apart."""
    with tcp_server() as server:
        with closing(Syslog(f"tcp://127.0.0.1:{server.getsockname()[1]}")) as syslog:
            syslog.append([CONTENT])
        connection, _ = server.accept()
        with connection:
            length, _, message = connection.recv(10_000).partition(b" ")

    assert int(length) == len(message)
    assert MESSAGE.fullmatch(message)


def test_the_machines_own_socket_is_taken(tmp_path: Path) -> None:
    """As /dev/log."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        with closing(Syslog(f"unix://{tmp_path / 'log'}")) as syslog:
            syslog.append([CONTENT])
        match = MESSAGE.fullmatch(server.recv(10_000))

    assert match
    assert json.loads(match[1])["act"] == "key_made"


def test_a_server_that_is_not_there_is_an_error() -> None:
    """The caller decides what follows."""
    with tcp_server() as server:
        port = server.getsockname()[1]

    with pytest.raises(OSError, match="refused"):
        Syslog(f"tcp://127.0.0.1:{port}").append([CONTENT])


def test_a_server_that_was_restarted_is_found_again() -> None:
    """A connection that broke is made anew."""
    with tcp_server() as server:
        port = server.getsockname()[1]
        syslog = Syslog(f"tcp://127.0.0.1:{port}")
        syslog.append([CONTENT])
        server.accept()[0].close()
    with tcp_server(port) as server, closing(syslog):
        for _ in range(3):  # the first may still go into the connection that is gone
            syslog.append([CONTENT])
        connection, _ = server.accept()
        with connection:
            assert MESSAGE.search(connection.recv(10_000))


@pytest.mark.parametrize("address", ["logs", "http://logs:514", "udp://logs", "tcp://logs:x", "unix://"])
def test_an_address_that_is_none_is_refused_at_the_start(address: str) -> None:
    """In words."""
    with pytest.raises(ValueError, match="log server"):
        AuditSettings(syslog=address)


def test_a_file_or_a_log_server(tmp_path: Path) -> None:
    """One place, not two that may differ."""
    with pytest.raises(ValueError, match="one of the two"):
        AuditSettings(file=tmp_path / "audit.jsonl", syslog="udp://logs:514")
