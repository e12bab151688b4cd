"""A server with all its child processes, and what they take: CPU time and memory. Linux only."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
READY_WITHIN_S = 60.0

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 10.0


class Server:
    """A command that serves, in a session of its own, so that nothing of it is left behind."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.since = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        """Whether the command goes on."""
        return self._process.poll() is None

    def cpu_s(self) -> float:
        """CPU time of all its processes, and of those that ended before."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def pss_mb(self) -> float:
        """Proportional set size of all its processes: pages that several share count once."""
        return sum(_pss_kb(pid) for pid in self.pids()) / 1024

    def open_files(self) -> int:
        """File descriptors of all its processes."""
        return sum(_open_files(pid) for pid in self.pids())

    def pids(self) -> list[int]:
        """Of the command and all that descends from it, whatever sessions these made for themselves."""
        parents = {pid: _parent_and_session(pid) for pid in _all_pids()}
        found = {pid for pid, (_, session) in parents.items() if session == self._process.pid}
        while more := {pid for pid, (parent, _) in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)

    def stop(self) -> None:
        """Ends all of it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                _signal(pid, number)
            patience_s = time.perf_counter() + _PATIENCE_S
            while self.pids() and time.perf_counter() < patience_s:
                self._process.poll()
                time.sleep(0.05)
        self._process.wait()


@contextmanager
def service(
    store: Path, png: bytes, *, prefix: Sequence[str] = (), port: int | None = None, **settings: str
) -> Iterator[tuple[Server, str]]:
    """The service, once it has answered an image, and its address; ended afterwards.

    Args:
        store: That it serves; what it keeps for itself lies beside it.
        png: The image.
        prefix: Before the command, such as taskset and its arguments.
        port: Where it listens; a free one if none.
        settings: Further ones, by the names of their variables.
    """
    port = port or free_port()
    environment = {"EFSNET_STORE": str(store), "EFSNET_STATE": str(store.with_name("state")), **settings}
    command = [*prefix, sys.executable, "-m", "service", "serve", "--port", str(port)]
    server = Server(command, environment, REPOSITORY)
    try:
        first_answer(server, f"127.0.0.1:{port}", "/v1/segment", png, {"Content-Type": "image/png"})
        yield server, f"127.0.0.1:{port}"
    finally:
        server.stop()


def first_answer(server: Server, address: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Waits for a server to be ready.

    Raises:
        RuntimeError: it ended, or was not ready in time.
    """
    while time.perf_counter() - server.since < READY_WITHIN_S and server.running:
        with suppress(OSError, HTTPException):
            connection = HTTPConnection(address, timeout=READY_WITHIN_S)
            connection.request("POST", path, body, dict(headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if answer.status == 200:
                return content
        time.sleep(0.05)
    raise RuntimeError(f"There was no answer from {path} within {READY_WITHIN_S} s.")


def free_port() -> int:
    """Of this machine alone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (proc(5)); none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
    except OSError:
        return []


def _parent_and_session(pid: int) -> tuple[int, int]:
    fields = _stat(pid)
    # a zombie is over
    return (int(fields[1]), int(fields[3])) if fields and fields[0] != "Z" else (0, 0)


def _cpu_s(pid: int) -> float:
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / _TICKS_PER_S if fields else 0.0


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _open_files(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
