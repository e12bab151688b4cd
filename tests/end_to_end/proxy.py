"""The proxy of docker-compose.yml, its own configuration in Debian's nginx, and the names that Docker would give it."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docker" / "proxy"


class Names:
    """What Docker's resolver says to whoever asks for `service`: the addresses of the replicas."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = list(addresses)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _answer(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            if not query:
                return
            self._socket.sendto(self._message(query), client)

    def _message(self, query: bytes) -> bytes:
        """The answer to a question, RFC 1035 section 4: each address of type A, class IN, for one second."""
        question = query[12 : query.index(b"\0", 12) + 5]
        addresses = self.addresses if question.startswith(b"\x07service\0") else []
        records = [b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04" + socket.inet_aton(address) for address in addresses]
        head = query[:2] + b"\x81\x80" + b"\0\x01" + len(records).to_bytes(2, "big") + bytes(4)
        return head + question + b"".join(records)


@contextmanager
def running_proxy(folder: Path, door: str, places: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The proxy with one of its doors, whose places are on this machine instead of in a container.

    Args:
        folder: For its files.
        door: `plain.conf` or `tls.conf`.
        places: What stands in the files, and what is meant here.
    """
    if shutil.which("nginx") is None:
        pytest.skip("needs nginx")
    given = {" /tmp/": f" {folder}/", "/etc/nginx/door.conf": str(folder / door), **places}
    files = {name: (FOLDER / name).read_text(encoding="utf-8") for name in ("nginx.conf", door)}
    for container, here in given.items():
        assert any(container in text for text in files.values()), container
        files = {name: text.replace(container, here) for name, text in files.items()}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    with subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-g", "daemon off;"]) as process:
        try:
            (listen,) = (here for container, here in places.items() if container.startswith("listen "))
            _await_port(int(listen.rsplit(":", 1)[1]), process)
            yield process
        finally:
            process.terminate()


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("nginx did not start")
