"""The product as people start it: a service of its own process, reached through a port."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import clean_environment, free_port, wait_until_ready


@pytest.fixture(scope="session")
def served(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service that scripts/serve started, with a new store."""
    port = free_port()
    store = tmp_path_factory.mktemp("store")
    process = subprocess.Popen(
        [repository / "scripts" / "serve", "--port", str(port)], env=clean_environment(EFSNET_STORE=str(store))
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
