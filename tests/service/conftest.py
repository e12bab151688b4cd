"""The application as it is in production, on a small store."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from threading import Event, Semaphore

import numpy as np
import pytest
from fastapi import FastAPI
from httpx2 import Response
from numpy.typing import NDArray
from PIL import Image as PillowImage
from starlette.testclient import TestClient

from efsnet.maps import ProbabilityMap
from efsnet.predictor import Computation, Predictor
from model_store.loading import LoadedVersion, load
from model_store.manifest import MODEL, Draft
from model_store.store import ModelStore
from model_store.version import Version
from service.app import create_app
from service.settings import Settings

Start = Callable[..., TestClient]

PNG = {"Content-Type": "image/png"}


@contextmanager
def running(load_version: Callable[[Version], LoadedVersion] | None = None, **settings: object) -> Iterator[TestClient]:
    """A client of an application with these settings, once its version is loaded or refused."""
    given = {"provider": "cpu", "workers": 2, **settings}
    app = create_app(Settings.model_validate(given), load_version=load_version)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.portal is not None
        client.portal.call(loaded, app)
        yield client


def app_of(client: TestClient) -> FastAPI:
    """The application that answers the client."""
    assert isinstance(client.app, FastAPI)
    return client.app


async def loaded(app: FastAPI) -> None:
    """Returns once the default version is loaded, or cannot be."""
    await app.state.loading


@pytest.fixture
def start(published_store: ModelStore) -> Iterator[Start]:
    """Starts an application on the published store with other settings than the default ones."""
    with ExitStack() as stack:
        yield lambda **given: stack.enter_context(running(**{"store": published_store.root, **given}))


@pytest.fixture(scope="session")
def client(
    tmp_path_factory: pytest.TempPathFactory, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> Iterator[TestClient]:
    """A client of an application with the default settings, for tests that leave it as it was."""
    store = ModelStore(tmp_path_factory.mktemp("store"))
    store.publish("efsnet", tiny_draft, tiny_contents)
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    with running(store=store.root) as client:
        yield client


def code_of(answer: Response) -> str:
    """The code of the problem that an answer tells of, as its path has it; none if it tells of none."""
    told = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    code = told.get("code", "") if isinstance(told, dict) else ""
    return str(answer.headers.get("X-Problem-Code", code))


class Gate:
    """Where work waits, so that a test decides how long it takes."""

    def __init__(self) -> None:
        self.opened = Event()
        self._reached = Semaphore(0)

    def wait(self) -> None:
        """Waits until the gate opens."""
        self._reached.release()
        self.opened.wait()

    def await_calls(self, number: int) -> None:
        """Returns once so many more have come to wait here."""
        for _ in range(number):
            assert self._reached.acquire(timeout=60)

    def is_reached(self, within_s: float) -> bool:
        """Whether one more comes to wait here in this time."""
        return self._reached.acquire(timeout=within_s)


class GatedPredictor(Predictor):
    """A predictor whose predictions wait at a gate."""

    def __init__(self, model: bytes, loaded: LoadedVersion, gate: Gate) -> None:
        super().__init__(model, loaded.version.manifest.specification, Computation(provider="cpu"))
        self._gate = gate

    def run(self, tensor: NDArray[np.uint8]) -> ProbabilityMap:
        """Predicts once the gate is open."""
        self._gate.wait()
        return super().run(tensor)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """The gate of `gated`; open when the test is over."""
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def gated(gate: Gate) -> Callable[[Version], LoadedVersion]:
    """Loads versions whose predictions wait at the gate, for two workers."""

    def load_gated(version: Version) -> LoadedVersion:
        loaded = load(version, Computation(provider="cpu"))
        predictors = tuple(GatedPredictor(version.read(MODEL), loaded, gate) for _ in range(2))
        return replace(loaded, predictors=predictors)

    return load_gated


def encoded(pixels: NDArray[np.generic], kind: str = "PNG", **options: object) -> bytes:
    """An image file of these pixels."""
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def pixels() -> NDArray[np.uint8]:
    """An image, (128, 160) uint8: dark, with a square that is benign to the tiny model, and one that is malignant."""
    pixels = np.full((128, 160), 30, np.uint8)
    pixels[20:50, 20:60] = 150
    pixels[70:110, 80:140] = 230
    return pixels


@pytest.fixture(scope="session")
def image(pixels: NDArray[np.uint8]) -> bytes:
    """The same as a PNG."""
    return encoded(pixels)
