"""Damaged and malicious images: each is answered or refused, soon, and in little memory.

The service runs in a process of its own, so that a decoder that crashes ends nothing else and its memory is all that
is measured. The model is the tests' own, which takes no time: what is tried is what stands before it.
"""

import json
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from model_store.manifest import Draft
from model_store.store import ModelStore
from tests.service import hostile
from tests.service.processes import Service, started

LONGEST_S = 2.0
MOST_BYTES = 300_000_000
FILES = int(os.environ.get("HOSTILE_UPLOADS", "4000"))
"""Damaged files of the long test; a hundred thousand are for whoever changes what decodes, or the Pillow."""
CLIENTS = 2
BETWEEN = 100
"""Damaged files from one good one to the next."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_draft: Draft, tiny_contents: Any) -> Iterator[Service]:
    """A service on the tests' own model."""
    folder = tmp_path_factory.mktemp("hostile")
    store = ModelStore(folder / "store")
    store.publish("efsnet", tiny_draft, tiny_contents)
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    with started(folder / "log", store=str(store.root)) as service:
        yield service


@dataclass(frozen=True)
class Client:
    """Sends one file after the other."""

    connection: httpx2.Client

    def ask(self, content: bytes) -> httpx2.Response:
        """The answer, or refusal for what it is; never an error of the service's own."""
        answer = self.connection.post("/v1/segment", content=content)
        assert answer.status_code in {200, 400, 413, 415, 422}, answer.text
        return answer

    def ask_in_time(self, content: bytes) -> None:
        """Sends a file that must take no longer than LONGEST_S.

        One that does is sent again: what hangs will hang each time, and what a busy machine held up will not.
        """
        taken_s = LONGEST_S
        for _ in range(3):
            since = time.perf_counter()
            self.ask(content)
            taken_s = time.perf_counter() - since
            if taken_s < LONGEST_S:
                return
        pytest.fail(f"It took {taken_s:.1f} s, and begins with {content[:200].hex()}")

    def found(self, content: bytes) -> Any:
        """What is found in a good file."""
        answer = self.ask(content)
        assert 200 == answer.status_code, answer.text
        told = json.loads(answer.content)
        return told["classes"], told["lesions"]


@contextmanager
def client_of(service: Service) -> Iterator[Client]:
    """With a connection of its own."""
    with httpx2.Client(base_url=service.address, timeout=60) as connection:
        yield Client(connection)


def hold(service: Service, count: int, seed: int) -> None:
    """So many damaged files from two clients, and good ones in between that are answered as ever."""
    good = hostile.seeds()
    with client_of(service) as client:
        expected = {name: client.found(content) for name, content in good.items()}
    idle = service.memory("VmRSS")
    service.forget_peak()

    def send(client_seed: int) -> None:
        rng = random.Random(client_seed)  # noqa: S311 (damage, no secret)
        with client_of(service) as client:
            for number in range(count // CLIENTS):
                client.ask_in_time(hostile.damaged(rng))
                if number % BETWEEN == 0:
                    name = rng.choice(list(good))
                    assert expected[name] == client.found(good[name])

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(send, range(seed * CLIENTS, (seed + 1) * CLIENTS)))

    assert service.memory("VmHWM") - idle < MOST_BYTES
    assert service.process.poll() is None
    assert "Traceback" not in service.log.read_text(encoding="utf-8")


def test_whole_files_of_every_kind_are_answered(service: Service) -> None:
    """They are what damaged ones are made of: both squares are found in each that is grey or in colour."""
    with client_of(service) as client:
        for content in hostile.seeds().values():
            client.found(content)


@pytest.mark.parametrize("name", hostile.CRAFTED)
def test_crafted_files_are_answered_or_refused(service: Service, name: str) -> None:
    """In time, in little memory; and the next image is answered."""
    good = hostile.seeds()["png grey"]
    with client_of(service) as client:
        expected, idle = client.found(good), service.memory("VmRSS")
        service.forget_peak()

        client.ask_in_time(hostile.CRAFTED[name]())

        assert service.memory("VmHWM") - idle < MOST_BYTES
        assert expected == client.found(good)


def test_damaged_files_are_answered_or_refused(service: Service) -> None:
    """Some hundreds, the same each time."""
    hold(service, 400, seed=1)


@pytest.mark.system
@pytest.mark.timeout(4 * 3600)
def test_thousands_of_damaged_files_hurt_nobody(service: Service) -> None:
    """No crash, no hang, no memory; the answers in between are right."""
    hold(service, FILES, seed=2)
