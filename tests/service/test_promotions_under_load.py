"""A hundred promotions while sixteen clients ask without a pause."""

import io
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image as PillowImage

from model_store.manifest import Draft
from model_store.store import ModelStore
from service.keys import KeyRing
from service.settings import Settings
from tests.end_to_end.processes import clean_environment
from tests.service.conftest import PNG, encoded

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

VERSIONS = 5
CLIENTS = 16
PROMOTIONS = 100
GROWTH = 1.05
"""By which memory may grow from after half of the promotions to after all."""

STEPS = (102, 107, 112, 117, 122)
"""Grey values that the versions disagree on: each begins to see a lesion a little higher."""


def dimmed(model: bytes, threshold: int) -> bytes:
    """The tiny model, which sees a lesion from another grey value on."""
    graph = onnx.load_model_from_string(model)
    for constant in graph.graph.initializer:
        if constant.name == "hundred":
            constant.CopyFrom(numpy_helper.from_array(np.array(threshold, np.float32), "hundred"))
    return bytes(graph.SerializeToString())


@pytest.fixture
def store(tmp_path: Path, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> ModelStore:
    """Versions that give other masks of the same image; more than are kept in memory, so that each is loaded anew."""
    store = ModelStore(tmp_path / "store")
    for number in range(VERSIONS):
        model = dimmed(tiny_contents["model.onnx"], 100 + 5 * number)
        store.publish("efsnet", tiny_draft, {**tiny_contents, "model.onnx": model})
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    return store


@pytest.fixture
def steps() -> bytes:
    """An image with a bar of each grey value that the versions disagree on, as a PNG."""
    pixels = np.full((128, 160), 30, np.uint8)
    for index, grey in enumerate(STEPS):
        pixels[10:110, 10 + 28 * index : 30 + 28 * index] = grey
    return encoded(pixels)


@contextmanager
def served(store: ModelStore, key: str) -> Iterator[tuple[httpx2.Client, int]]:
    """A client of a service in a process of its own, and that process' id."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0"]
    environment = clean_environment(EFSNET_PROVIDER="cpu", EFSNET_WORKERS="2", EFSNET_STORE=str(store.root))
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout
            address = re.search(r"http://[^/]+", process.stdout.readline())
            assert address
            headers = {"Authorization": f"Bearer {key}"}
            limits = httpx2.Limits(max_connections=CLIENTS + 1)
            with httpx2.Client(base_url=address[0], headers=headers, timeout=60, limits=limits) as client:
                yield client, process.pid
        finally:
            process.terminate()


def mask(answer: httpx2.Response) -> NDArray[np.uint8]:
    """The label map of a palette PNG."""
    return np.asarray(PillowImage.open(io.BytesIO(answer.raise_for_status().content)))


def memory_bytes(pid: int) -> int:
    """Resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found
    return int(found[1]) * 1024


@pytest.mark.requirement("VER-4")
def test_a_hundred_promotions_under_full_load(store: ModelStore, steps: bytes) -> None:
    """No request fails, each mask is that of the version which the answer names, and memory does not grow."""
    key, _ = KeyRing(Settings(store=store.root).keys_file).create("tests", ["admin"], 1)
    over = Event()

    with served(store, key) as (client, pid), ThreadPoolExecutor(CLIENTS) as clients:

        def ask(**query: Any) -> httpx2.Response:
            return client.post("/v1/segment", params={"format": "png", **query}, content=steps, headers=PNG)

        masks = {str(number): mask(ask(version=number)) for number in range(1, VERSIONS + 1)}
        assert VERSIONS == len({each.tobytes() for each in masks.values()})

        def ask_until_over() -> tuple[int, set[str]]:
            wrong, versions = 0, set()
            while not over.is_set():
                answer = ask()
                version = answer.headers.get("X-Model-Version", "")
                versions.add(version)
                wrong += answer.status_code != 200 or not np.array_equal(masks[version], mask(answer))
            return wrong, versions

        try:
            asking = [clients.submit(ask_until_over) for _ in range(CLIENTS)]
            memory = {}
            for count in range(1, PROMOTIONS + 1):
                change = {"version": 1 + count % VERSIONS, "reason": "it is time"}
                current = {"expected_current": 1 + (count - 1) % VERSIONS}
                promoted = client.put("/v1/models/efsnet/aliases/production", json=change | current)
                assert promoted.raise_for_status().json()["serving"]
                memory[count] = memory_bytes(pid)
        finally:
            over.set()
        answers = [each.result() for each in asking]

    assert [0] * CLIENTS == [wrong for wrong, _ in answers]
    assert set(masks) == set().union(*(versions for _, versions in answers))
    assert PROMOTIONS + 1 == len(store.promotions("efsnet"))
    assert memory[PROMOTIONS] <= GROWTH * memory[PROMOTIONS // 2]
