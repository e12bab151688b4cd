"""A real service behind a real port, in this process."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image as PillowImage

from model_store.store import ModelStore
from service.app import create_app
from service.server import Server
from service.settings import Settings

Serve = Callable[..., str]


@pytest.fixture
def serve(published_store: ModelStore) -> Iterator[Serve]:
    """Starts a service with other settings than the default ones, and gives its address once it is ready."""
    servers: list[tuple[Server, threading.Thread]] = []

    def start(**given: object) -> str:
        settings = Settings.model_validate({"provider": "cpu", "workers": 1, "store": published_store.root, **given})
        app = create_app(settings)
        server = Server(app, settings)
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        servers.append((server, thread))
        while not server.started or not app.state.loading.done():
            time.sleep(0.01)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join()


@pytest.fixture
def picture() -> bytes:
    """A PNG, dark with a square that is benign to the tiny model."""
    pixels = np.full((128, 160), 30, np.uint8)
    pixels[20:50, 20:60] = 150
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
