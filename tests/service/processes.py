"""The service in a process of its own, for tests that watch the process or end it."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.end_to_end.processes import clean_environment
from tests.service.conftest import PNG


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    said: str
    """Its first line."""
    log: Path

    @property
    def address(self) -> str:
        """Where it is."""
        found = re.search(r"https?://[^/]+", self.said)
        assert found, self.said
        return found[0]

    def post(self, content: Any, **headers: str) -> httpx2.Response:
        """Uploads over a connection of its own."""
        return httpx2.post(f"{self.address}/v1/segment", content=content, headers=PNG | headers, timeout=60)

    def connect(self, length: int | None, *headers: str) -> socket.socket:
        """A connection that has announced a body of this length, or of any kind and length."""
        host, port = self.address.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=60)
        lines = (
            "POST /v1/segment HTTP/1.1",
            "Host: x",
            *(
                ("Transfer-Encoding: chunked",)
                if length is None
                else ("Content-Type: image/png", f"Content-Length: {length}")
            ),
            *headers,
        )
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        return connection

    def stop(self) -> int:
        """Tells it to stop, and gives the status with which it ended."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def memory(self, key: str) -> int:
        """Bytes of resident memory: VmRSS now, VmHWM at most since `forget_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"{key}:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        """Starts the measurement of the largest memory anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")


@contextmanager
def started(log: Path, *, prefix: tuple[str, ...] = (), port: int = 0, **settings: str) -> Iterator[Service]:
    """A service with these settings, killed when the context ends, and a file for its log.

    The prefix goes before its command: a program that starts it with less than it would like.
    """
    variables = {"EFSNET_PROVIDER": "cpu", "EFSNET_WORKERS": "2"}
    variables |= {f"EFSNET_{name.upper()}": value for name, value in settings.items()}
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            [*prefix, sys.executable, "-m", "service", "serve", "--port", str(port)],
            env=clean_environment(**variables),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout
            yield Service(process, process.stdout.readline(), log)
        finally:
            process.kill()
