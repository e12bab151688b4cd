"""Clients that hold connections and do nothing with them, before a real process."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest

from model_store.store import ModelStore
from service.connections import HEAD_S, PACE_S
from tests.service.processes import Service, started

SLOW = 200

pytestmark = pytest.mark.system


@pytest.fixture
def service(published_store: ModelStore, tmp_path: Path) -> Iterator[Service]:
    """A service that takes a few more connections than the slow ones are."""
    with started(tmp_path / "log", store=str(published_store.root), connections=str(SLOW + 20)) as running:
        yield running


@pytest.fixture
def image(busi: Path) -> bytes:
    """A real ultrasound."""
    return (busi / "benign" / "benign (51).png").read_bytes()


def connect(service: Service) -> socket.socket:
    """A connection."""
    host, port = service.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def is_closed(connection: socket.socket, within_s: float) -> bool:
    """Whether the service ends it in this time."""
    connection.settimeout(within_s)
    try:
        return connection.recv(1000) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_slow_clients_keep_nobody_waiting_and_are_cut_off(service: Service, image: bytes) -> None:
    """Some say nothing, some send a head byte by byte: good requests are answered, and the slow ones end in time."""
    head = b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nX-Slow: "
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(service)) for _ in range(SLOW)]
        end = threading.Event()

        def drip() -> None:
            while not end.wait(0.5):
                for connection in slow[::2]:
                    with suppress(OSError):
                        connection.sendall(b"x")

        for connection in slow[::2]:
            connection.sendall(head)
        dripping = threading.Thread(target=drip)
        dripping.start()
        began = time.monotonic()
        answers = [service.post(image) for _ in range(10)]
        assert all(answer.is_success for answer in answers)
        assert time.monotonic() - began < HEAD_S, "the slow ones are gone already: this shows nothing"
        time.sleep(max(0.0, began + HEAD_S + 3 - time.monotonic()))
        assert all(is_closed(connection, 5) for connection in slow)
        end.set()
        dripping.join()
    assert service.post(image).is_success


def test_one_connection_too_many_is_closed_and_the_others_live(service: Service, image: bytes) -> None:
    """Until one of them ends."""
    with ExitStack() as stack:
        held = [stack.enter_context(connect(service)) for _ in range(SLOW + 20)]
        with connect(service) as more:
            assert is_closed(more, 5)
        request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        held[0].sendall(request)
        assert held[0].recv(1000).startswith(b"HTTP/1.1 200")
        held.pop().close()
        time.sleep(0.5)
        assert service.post(image).is_success


def test_a_client_that_does_not_read_its_answers_ends_alone(service: Service, image: bytes) -> None:
    """A pipeline of requests whose answers nobody takes: others are served meanwhile."""
    with connect(service) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(1)
        with suppress(TimeoutError, ConnectionError):
            for _ in range(2000):
                deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(service.post(image).is_success for _ in range(5))
        assert httpx2.get(f"{service.address}/livez").is_success


def test_a_body_that_stands_still_is_cut_off(service: Service) -> None:
    """Also where nobody waits for it with a clock: an order that never comes whole."""
    order = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with connect(service) as connection:
        connection.sendall(order)
        assert not is_closed(connection, 5)
        assert is_closed(connection, PACE_S)


def test_a_request_that_pauses_between_two_is_served(service: Service) -> None:
    """A connection is kept for a while; a head that comes in two parts is whole."""
    with connect(service) as connection:
        for part in (b"GET /livez HTTP/1.1\r\n", b"Host: x\r\n\r\n"):
            connection.sendall(part)
            time.sleep(1)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
