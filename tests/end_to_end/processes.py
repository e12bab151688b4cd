"""Starting the service as a process of its own."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment without the settings of whoever runs the tests, and with these variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EFSNET_")} | variables


@contextmanager
def serve(command: Sequence[str | Path], store: Path, **variables: str) -> Iterator[str]:
    """Runs the command, which serves this store, for as long as the context lasts. Gives the service's address."""
    port = free_port()
    process = subprocess.Popen(
        [*command, "--port", str(port)], env=clean_environment(EFSNET_STORE=str(store), **variables)
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Returns once the service answers 200 on /readyz; fails when its process ends first or time runs out."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx2.get(f"{url}/readyz").is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"The service at {url} did not become ready; exit status {process.poll()}.")
