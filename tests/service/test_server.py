"""The service as a process of its own, and clients that misbehave on the wire."""

import re
import select
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from model_store.manifest import Draft
from model_store.store import ModelStore
from service.api.arrivals import GRACE_S
from tests.end_to_end.processes import clean_environment
from tests.service.conftest import PNG, encoded
from tests.service.processes import Service, started

MB = 1_000_000
ANY = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Starts services with these settings, and ends them when the tests are over."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Service:
            return stack.enter_context(started(tmp_path_factory.mktemp("log") / "log", **settings))

        yield start


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, tiny_draft: Draft, tiny_contents: Any) -> Path:
    """A store with one version."""
    store = ModelStore(tmp_path_factory.mktemp("store"))
    store.publish("efsnet", tiny_draft, tiny_contents)
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    return store.root


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service], store: Path) -> Service:
    """A service that clients may treat badly, but that goes on."""
    return serve(store=str(store), upload_timeout_s="1")


def chunked(length: int) -> Iterator[bytes]:
    """A body of unknown length."""
    for _ in range(0, length, 100_000):
        yield bytes(100_000)


def test_one_line_says_where_the_service_is(service: Service) -> None:
    """Once it is ready; what it links to is there."""
    assert "efsnet 1 is ready" in service.said
    assert 200 == httpx2.get(f"{service.address}/readyz").status_code
    assert 200 == httpx2.get(f"{service.address}/docs").status_code


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("length", [11 * MB, 200 * MB])
def test_a_body_over_the_limit_is_a_problem(service: Service, image: bytes, length: int, *, announced: bool) -> None:
    """Announced or not: the client reads the answer, memory stays, and the next request is served."""
    before = service.memory("VmRSS")
    service.forget_peak()
    response = service.post(bytes(length) if announced else chunked(length))

    assert (413, "body_too_large") == (response.status_code, response.json()["code"])
    assert "application/problem+json" == response.headers["Content-Type"]
    assert service.memory("VmHWM") - before < 40 * MB
    assert 200 == service.post(image).status_code


def test_who_asks_before_uploading_is_told_at_once(service: Service) -> None:
    """`Expect: 100-continue`, as curl sends it, is answered by the refusal alone."""
    with closing(service.connect(11 * MB, "Expect: 100-continue")) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_connection_serves_on_after_a_refusal(service: Service, image: bytes) -> None:
    """Whatever part of the body had not arrived."""
    with httpx2.Client(base_url=service.address, headers=PNG, timeout=60) as client:
        for _ in range(3):
            assert 413 == client.post("/v1/segment", content=bytes(11 * MB)).status_code
            assert 200 == client.post("/v1/segment", content=image).status_code


def test_a_client_that_stops_sending_is_told(service: Service, image: bytes) -> None:
    """And others are served meanwhile."""
    with closing(service.connect(len(image))) as connection:
        connection.sendall(image[:50])

        assert 200 == service.post(image).status_code
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_slow_uploads_give_way_and_quick_ones_do_not(serve: Callable[..., Service], store: Path, image: bytes) -> None:
    """Whoever takes all places and then sends hardly anything keeps nobody out; who sends in earnest keeps a place."""
    service = serve(store=str(store), upload_capacity="2", upload_timeout_s="60")
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(service.connect(MB))) for _ in range(2)]
        for connection in slow:
            connection.sendall(image[:50])
        while service.post(image).status_code == 429:  # until they have had their time
            time.sleep(0.1)
        (told,), _, _ = select.select(slow, (), (), 5)
        assert told.recv(100).startswith(b"HTTP/1.1 408")
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(closing(service.connect(9 * MB))).sendall(bytes(MB))
        end = time.monotonic() + GRACE_S + 1
        while time.monotonic() < end:
            assert 429 == service.post(image).status_code
            time.sleep(0.2)


def test_slow_large_uploads_give_way_too(serve: Callable[..., Service], store: Path, image: bytes) -> None:
    """Of bodies whose length nobody has said there are few at the same time."""
    service = serve(store=str(store), large_uploads="1", upload_timeout_s="60")
    with closing(service.connect(None)) as slow:
        slow.sendall(b"1\r\n\x89\r\n")
        while (answer := service.post(iter([image]), **ANY)).status_code == 429:
            time.sleep(0.1)
        assert 200 == answer.status_code
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_a_client_that_leaves_in_the_middle_harms_nobody(service: Service, image: bytes) -> None:
    """The next request is served, and the log tells of the one that was lost."""
    for _ in range(5):
        with closing(service.connect(5 * MB, "X-Request-Id: lost")) as connection:
            connection.sendall(bytes(2 * MB))

    assert 200 == service.post(image).status_code
    while service.log.read_text(encoding="utf-8").count("request_id=lost method=POST route=/v1/segment status=499") < 5:
        assert service.process.poll() is None


def png(columns: int, rows: int, data: bytes) -> bytes:
    """A PNG whose header says this size, and that holds this compressed data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@cache
def zeros() -> bytes:
    """500 MB, compressed."""
    compressor = zlib.compressobj(1)
    return b"".join([*(compressor.compress(bytes(MB)) for _ in range(500)), compressor.flush()])


def unpacking_text() -> bytes:
    """A PNG with a text of 500 MB."""
    content = b"zTXta\0\0" + zeros()
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png(100, 100, b"")[:33] + chunk


BOMBS: dict[str, Callable[[], bytes]] = {
    "100 megapixels": lambda: png(10_000, 10_000, zeros()),
    "more pixels than there are numbers": lambda: png(2**31 - 1, 2**31 - 1, zeros()),
    "more data than pixels": lambda: png(100, 100, zeros()),
    "a text that unpacks to 500 MB": unpacking_text,
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.requirement("BAD-4")
def test_a_decompression_bomb_takes_no_memory(service: Service, image: bytes, name: str) -> None:
    """However much the file would unpack to; and the next request is served."""
    service.post(image)
    before = service.memory("VmRSS")
    service.forget_peak()
    response = service.post(BOMBS[name]())

    assert 200 <= response.status_code < 500
    assert service.memory("VmHWM") - before < 40 * MB
    assert 200 == service.post(image).status_code


def test_the_largest_image_takes_bounded_memory(service: Service) -> None:
    """25 megapixels of colour, which a small file can hold."""
    largest = encoded(np.zeros((5000, 5000, 3), np.uint8), compress_level=1)
    before = service.memory("VmRSS")
    service.forget_peak()

    assert 200 == service.post(largest).status_code
    assert service.memory("VmHWM") - before < 400 * MB


def test_the_log_is_in_utc_with_one_line_a_request(service: Service, image: bytes) -> None:
    """And with the id that the client was told."""
    request_id = service.post(image).headers["X-Request-Id"]
    end = time.monotonic() + 60
    # The line is written when the answer is sent, and the client may be faster.
    while request_id not in (log := service.log.read_text(encoding="utf-8")) and time.monotonic() < end:
        time.sleep(0.02)
    (line,) = [line for line in log.splitlines() if request_id in line]

    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO service\.request request_id=", line)


@pytest.mark.requirement("OPS-4")
def test_a_stop_becomes_not_ready_first_and_finishes_what_runs(
    serve: Callable[..., Service], store: Path, image: bytes
) -> None:
    """While it drains it still answers; an upload that has begun is answered before the process ends."""
    service = serve(store=str(store), drain_s="2")
    with closing(service.connect(len(image), "Connection: close")) as connection:
        connection.sendall(image[:50])
        service.process.send_signal(signal.SIGTERM)
        while (ready := httpx2.get(f"{service.address}/readyz")).status_code == 200:
            pass
        assert "draining" == ready.json()["code"]
        assert 200 == service.post(image).status_code
        connection.sendall(image[50:])
        assert connection.recv(100).startswith(b"HTTP/1.1 200")

    assert service.process.wait(timeout=60) in (0, -signal.SIGTERM)
    assert "Traceback" not in service.log.read_text(encoding="utf-8")


def test_ctrl_c_ends_the_service_without_a_traceback(serve: Callable[..., Service], store: Path) -> None:
    """As people stop it."""
    service = serve(store=str(store))
    service.process.send_signal(signal.SIGINT)

    assert 0 == service.process.wait(timeout=60)
    assert "Traceback" not in service.log.read_text(encoding="utf-8")


def test_a_service_without_a_version_says_why_and_stays(
    serve: Callable[..., Service], store: Path, tmp_path: Path
) -> None:
    """On the screen, in the log and at /readyz; and it can be stopped."""
    ModelStore(tmp_path)
    service = serve(store=str(store), model="unheard-of")

    assert "Not ready" in service.said
    assert "efsnet" in service.said
    assert 503 == httpx2.get(f"{service.address}/readyz").status_code
    assert "not ready" in service.log.read_text(encoding="utf-8")
    service.stop()


def test_a_port_that_is_taken_is_told(serve: Callable[..., Service], store: Path, service: Service) -> None:
    """In one line, with the address."""
    port = service.address.rsplit(":", 1)[1]
    refused = subprocess.run(
        [sys.executable, "-m", "service", "serve", "--port", port],
        env=clean_environment(EFSNET_STORE=str(store)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert refused.returncode != 0
    assert port in refused.stderr
    assert "Traceback" not in refused.stderr
