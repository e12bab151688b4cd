"""The application as it is in production, on a small store."""

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image as PillowImage
from starlette.testclient import TestClient

from model_store.store import ModelStore
from service.app import create_app
from service.settings import Settings

Start = Callable[..., TestClient]


@pytest.fixture
def start(published_store: ModelStore) -> Iterator[Start]:
    """Starts an application with these settings, and gives a client of it once the version is loaded or refused."""
    clients: list[TestClient] = []

    def started(*, app: FastAPI | None = None, **settings: object) -> TestClient:
        given = {"store": published_store.root, "provider": "cpu", "workers": 2, **settings}
        application = app or create_app(Settings.model_validate(given))
        client = TestClient(application, raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        client.portal.call(wait_for, application) if client.portal else None
        return client

    yield started
    for client in clients:
        client.__exit__(None, None, None)


async def wait_for(app: FastAPI) -> None:
    """Returns once the default version is loaded, or cannot be."""
    await app.state.loading


@pytest.fixture
def client(start: Start) -> TestClient:
    """A client of an application with the default settings."""
    return start()


def encoded(pixels: NDArray[np.generic], kind: str = "PNG", **options: object) -> bytes:
    """An image file of these pixels."""
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def squares() -> NDArray[np.uint8]:
    """An image, (120, 160) uint8: dark, with a square that the tiny model calls benign and one that it calls malignant."""
    pixels = np.full((120, 160), 30, np.uint8)
    pixels[20:50, 20:60] = 150
    pixels[70:110, 80:140] = 230
    return pixels


import onnx, pytest


@pytest.fixture(scope="session")
def tiny_model_bytes(tiny_model_bytes):
    m = onnx.load_from_string(tiny_model_bytes)
    for v in (*m.graph.input, *m.graph.output):
        for d in list(v.type.tensor_type.shape.dim)[2:]:
            d.dim_value = 64
    return m.SerializeToString()
