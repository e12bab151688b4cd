"""The audit lines in a hospital's log server: RFC 5424 messages by UDP, TCP or the machine's own socket."""

import os
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from service.audit.chain import Link

PRIORITY = 10 * 8 + 5
"""Facility 10, security messages; severity 5, notice (RFC 5424 section 6.2.1)."""

TIMEOUT_S = 5.0

NAME = "efsnet"


class Syslog:
    """A log server. The chain of lines begins anew with each process.

    Args:
        address: `udp://HOST:PORT`, `tcp://HOST:PORT` or `unix:///dev/log`.
    """

    def __init__(self, address: str) -> None:
        self._address = urlsplit(address)
        self._socket: socket.socket | None = None
        self._end = Link()

    def append(self, contents: Sequence[Mapping[str, Any]]) -> None:
        """Sends lines. With UDP nobody knows whether they arrived.

        Raises:
            OSError: The server cannot be reached.
        """
        for content in contents:
            line = self._end.line(content)
            message = _message(content["time"], line.rstrip(b"\n"))
            try:
                self._send(message)
            except OSError:
                self.close()
                self._send(message)  # the server may have been restarted
            self._end = self._end.after(line)

    def close(self) -> None:
        """Ends the connection; the next line makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: bytes) -> None:
        if self._socket is None:
            self._socket = self._connected()
        try:
            # Octet counting (RFC 6587 section 3.4.1) tells messages apart in a stream.
            framed = b"%d %s" % (len(message), message) if self._address.scheme == "tcp" else message
            self._socket.sendall(framed)
        except OSError:
            self.close()
            raise

    def _connected(self) -> socket.socket:
        if self._address.scheme == "unix":
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            target: Any = self._address.path
        else:
            kind = socket.SOCK_STREAM if self._address.scheme == "tcp" else socket.SOCK_DGRAM
            family, _, _, _, target = socket.getaddrinfo(self._address.hostname, self._address.port, type=kind)[0]
            connection = socket.socket(family, kind)
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(target)
        except OSError:
            connection.close()
            raise
        return connection


def _message(time: str, line: bytes) -> bytes:
    host = re.sub(r"[^!-~]", "", socket.gethostname())[:255] or "-"
    return f"<{PRIORITY}>1 {time} {host} {NAME} {os.getpid()} audit - ".encode() + line
