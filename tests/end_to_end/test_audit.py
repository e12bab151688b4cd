"""The audit trail of a service that is killed, and of one whose disk is full."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest

from model_store.store import ModelStore
from service.audit.chain import verify
from tests.end_to_end.processes import clean_environment, free_port, wait_until_ready

KILLS = int(os.environ.get("AUDIT_KILLS", "5"))

pytestmark = pytest.mark.system


@pytest.fixture
def image(busi: Path) -> bytes:
    """A real ultrasound."""
    return (busi / "benign" / "benign (51).png").read_bytes()


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """The file of the audit trail."""
    return tmp_path / "audit" / "audit.jsonl"


@pytest.fixture
def begin(trail: Path, tmp_path: Path, published_store: ModelStore) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts the service with an audit trail, in a process of its own."""

    def begun(port: int, before: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
        environment = clean_environment(
            EFSNET_STORE=str(published_store.root),
            EFSNET_STATE=str(tmp_path / "state"),
            EFSNET_AUDIT_FILE=str(trail),
            EFSNET_PROVIDER="cpu",
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", "--port", str(port)],
            env=environment,
            stderr=subprocess.DEVNULL,
            preexec_fn=before,  # noqa: PLW1509 (sets a limit of the child, nothing else)
        )
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        return process

    return begun


def send_until(end: threading.Event, url: str, image: bytes, answered: list[str]) -> None:
    """Sends images until told to stop or the service is gone; notes the request that each answer is to."""
    with httpx2.Client(base_url=url, timeout=30) as client:
        while not end.is_set():
            try:
                answer = client.post("/v1/segment", content=image, headers={"Content-Type": "image/png"})
            except httpx2.TransportError:
                return
            if answer.is_success:
                answered.append(answer.headers["x-request-id"])


@pytest.mark.requirement("AUD-1")
def test_every_answer_has_its_line_whenever_the_service_is_killed(
    begin: Callable[..., subprocess.Popen[bytes]], trail: Path, image: bytes
) -> None:
    """And the chain goes on from restart to restart."""
    answered: list[str] = []
    moments = np.random.default_rng(8)
    for _ in range(KILLS):
        port = free_port()
        process = begin(port)
        end = threading.Event()
        clients = [
            threading.Thread(target=send_until, args=(end, f"http://127.0.0.1:{port}", image, answered))
            for _ in range(4)
        ]
        for client in clients:
            client.start()
        time.sleep(moments.uniform(0.3, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        end.set()
        for client in clients:
            client.join()
    process = begin(free_port())
    process.terminate()
    process.wait(timeout=60)

    written = trail.read_bytes().splitlines()
    verify(written)
    recorded = {line.get("request_id") for line in map(json.loads, written)}
    assert len(answered) > 10 * KILLS
    assert set(answered) <= recorded


@pytest.mark.requirement("AUD-3")
def test_a_full_disk_stops_the_answers_and_not_the_chain(
    begin: Callable[..., subprocess.Popen[bytes]], trail: Path, image: bytes
) -> None:
    """Each mask that was given has its line; then nothing is given, and the service says so."""
    port = free_port()
    process = begin(port, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)))
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        answers = [client.post("/v1/segment", content=image, headers={"Content-Type": "image/png"}) for _ in range(150)]
        ready = client.get("/readyz")
    process.terminate()
    process.wait(timeout=60)

    written = trail.read_bytes().splitlines()
    verify(written)
    recorded = {line.get("request_id") for line in map(json.loads, written)}
    given = [answer.headers["x-request-id"] for answer in answers if answer.is_success]
    refused = [answer for answer in answers if not answer.is_success]
    assert 10 < len(given) < 150
    assert set(given) <= recorded
    assert {(503, "audit_unavailable")} == {(answer.status_code, answer.json()["code"]) for answer in refused}
    assert (503, "audit_unavailable") == (ready.status_code, ready.json()["code"])
