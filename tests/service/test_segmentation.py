"""Many requests, few workers."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from efsnet.maps import ProbabilityMap
from efsnet.predictor import Computation, Predictor
from model_store.loading import LoadedVersion, load
from model_store.manifest import MODEL
from model_store.version import Version
from service.segmentation import LARGE_PIXELS
from tests.service.api.test_health import value
from tests.service.conftest import PNG, Gate, Start, encoded

Load = Callable[[Version], LoadedVersion]
URL = "/v1/segment"


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    """People who ask at the same time."""
    with ThreadPoolExecutor(16) as clients:
        yield clients


def ask(clients: ThreadPoolExecutor, client: TestClient, image: bytes, number: int) -> list[Future[int]]:
    """Sends so many requests at the same time, and gives the statuses to come."""
    return [
        clients.submit(lambda: int(client.post(URL, content=image, headers=PNG).status_code)) for _ in range(number)
    ]


def until(client: TestClient, **expected: int) -> None:
    """Returns once the queue is as expected."""
    while not expected.items() <= client.get("/readyz").json()["queue"].items():
        pass


def test_the_service_answers_while_every_worker_is_busy(
    start: Start, gated: Load, gate: Gate, clients: ThreadPoolExecutor, image: bytes
) -> None:
    """Liveness, readiness and metrics need no worker, and tell of the load."""
    client = start(load_version=gated)
    statuses = ask(clients, client, image, 5)
    gate.await_calls(2)
    until(client, running=2, waiting=3)

    assert 200 == client.get("/livez").status_code
    assert 3 == value(client, "efs_queue_depth")
    assert 2 == value(client, "efs_inflight_requests")
    assert 5 == value(client, "http_server_active_requests", method="POST")
    gate.opened.set()
    assert [200] * 5 == [status.result() for status in statuses]


def test_large_images_are_worked_on_one_at_a_time(
    start: Start, gated: Load, gate: Gate, clients: ThreadPoolExecutor
) -> None:
    """So that many of them need no more memory than one, whatever the number of workers."""
    client = start(load_version=gated)
    large = encoded(np.full((2100, 2000), 150, np.uint8))
    statuses = ask(clients, client, large, 2)
    gate.await_calls(1)
    until(client, running=2)

    assert 2100 * 2000 > LARGE_PIXELS
    assert not gate.is_reached(within_s=0.2)
    gate.opened.set()
    assert [200, 200] == [status.result() for status in statuses]


def test_a_full_queue_refuses_before_the_body_is_read(
    start: Start, gated: Load, gate: Gate, clients: ThreadPoolExecutor, image: bytes
) -> None:
    """The refusal says when to try again, and does not wait for an upload; those who wait are answered."""
    client = start(load_version=gated, queue_capacity=1)
    statuses = ask(clients, client, image, 3)
    gate.await_calls(2)
    until(client, running=2, waiting=1)

    read: list[bool] = []

    def body() -> Iterator[bytes]:
        read.append(True)
        yield image

    refused = client.post(URL, content=body(), headers=PNG)
    gate.opened.set()

    assert not read

    assert (429, "queue_full") == (refused.status_code, refused.json()["code"])
    assert "1" == refused.headers["Retry-After"]
    assert [200] * 3 == [status.result() for status in statuses]
    assert 1 == value(client, "efs_rejected_total", reason="queue_full")


def test_an_answer_that_is_late_is_given_up(start: Start, gated: Load, gate: Gate, image: bytes) -> None:
    """After the deadline the client is told, whatever the worker does."""
    response = start(load_version=gated, deadline_s=0.05).post(URL, content=image, headers=PNG)

    assert (504, "deadline_exceeded") == (response.status_code, response.json()["code"])


class StarvedPredictor(Predictor):
    """A predictor for which there is no memory."""

    def run(self, tensor: NDArray[np.uint8]) -> ProbabilityMap:
        raise MemoryError


def test_an_image_for_which_there_is_no_memory_is_refused_for_now(start: Start, image: bytes) -> None:
    """That is no fault of the image, and passes."""

    def load_starved(version: Version) -> LoadedVersion:
        predictor = StarvedPredictor(version.read(MODEL), version.manifest.specification, Computation(provider="cpu"))
        return replace(load(version, Computation(provider="cpu")), predictors=(predictor,) * 2)

    response = start(load_version=load_starved).post(URL, content=image, headers=PNG)

    assert (503, "memory_short") == (response.status_code, response.json()["code"])
    assert "5" == response.headers["Retry-After"]


def test_a_client_that_leaves_before_its_turn_is_dropped_and_counted(
    start: Start, gated: Load, gate: Gate, clients: ThreadPoolExecutor, image: bytes
) -> None:
    """Its image is never segmented, and its place in the queue is free at once."""
    client = start(load_version=gated)
    statuses = ask(clients, client, image, 2)
    gate.await_calls(2)
    assert client.portal is not None
    with client.portal.wrap_async_context_manager(Connection(client, image, whole=True)):
        until(client, waiting=1)
    until(client, waiting=0)
    gate.opened.set()

    assert [200, 200] == [status.result() for status in statuses]
    assert 1 == value(client, "efs_requests_total", model="efsnet", version="1", format="json", outcome="cancelled")
    assert 2 == value(client, "efs_stage_duration_seconds_count", stage="infer", model="efsnet", version="1")


class Connection:
    """A connection over which a body arrives, whole or not; it ends when its context does."""

    def __init__(self, client: TestClient, body: bytes, *, whole: bool) -> None:
        self._app = client.app
        self._messages = [{"type": "http.request", "body": body, "more_body": not whole}]

    async def __aenter__(self) -> None:
        """Returns once the service has taken what there is, and listens for more."""
        self._gone = asyncio.Event()
        listening = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if self._messages:
                return self._messages.pop()
            listening.set()
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            """Nobody is there to read it."""

        scope = {"type": "http", "method": "POST", "path": URL, "query_string": b"", "headers": []}
        self._answering = asyncio.ensure_future(self._app(scope, receive, send))
        await listening.wait()

    async def __aexit__(self, *_: object) -> None:
        """Disconnects, and returns once the service has noticed."""
        self._gone.set()
        await self._answering


def test_too_many_uploads_at_the_same_time_are_refused(start: Start, clients: ThreadPoolExecutor, image: bytes) -> None:
    """What is being received is bounded too, before it reaches the queue."""
    client = start(upload_capacity=1)
    assert client.portal is not None

    with client.portal.wrap_async_context_manager(Connection(client, image[:100], whole=False)):
        assert 429 == client.post(URL, content=image, headers=PNG).status_code
    assert 200 == client.post(URL, content=image, headers=PNG).status_code
