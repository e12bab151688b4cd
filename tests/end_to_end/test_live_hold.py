"""Clients of live streams that behave badly, beside one that does not."""

import io
import os
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

import httpx2
import numpy as np
import pytest
from PIL import Image as PillowImage
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from efsnet_client import EFSNetClient, StreamClosed
from model_store.store import ModelStore
from tests.end_to_end.processes import serve

ROUNDS = int(os.environ.get("LIVE_HOLD_ROUNDS", "5"))

pytestmark = pytest.mark.system


@pytest.fixture
def address(published_store: ModelStore) -> Iterator[str]:
    """Of a service with the tiny model, which minds soon that a client does not read."""
    command = [sys.executable, "-m", "service", "serve"]
    with serve(command, published_store.root, EFSNET_PROVIDER="cpu", EFSNET_STREAM_STALL_S="1") as url:
        yield url


def frame(rows: int = 64, columns: int = 64) -> bytes:
    """Noise, as a raw grey frame."""
    pixels = np.random.default_rng(0).integers(0, 255, (rows, columns), dtype=np.uint8)
    return struct.pack(">IQHHHH", 0, 0, 3, 0, rows, columns) + pixels.tobytes()


def vanish(address: str) -> int | None:
    """A client whose cable is pulled: nothing of the end is said."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, and no goodbye
    return None


def said(address: str, message: bytes, times: int = 1) -> int | None:
    """The code with which a stream is closed after these messages."""
    with connect(f"ws{address.removeprefix('http')}/v1/stream", compression=None) as connection:
        try:
            for _ in range(times):
                connection.send(message)
            while True:
                connection.recv()
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else None


def fifty_megapixels() -> bytes:
    """A small file of a large picture."""
    file = io.BytesIO()
    PillowImage.new("1", (10_000, 5_000)).save(file, "PNG")
    return struct.pack(">IQHH", 0, 0, 2, 0) + file.getvalue()


def stall(address: str) -> int | None:
    """A client that sends and does not read; the code that it finds when it does at last."""
    host, port = address.removeprefix("http://").split(":")
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect((host, int(port)))
    url = f"ws{address.removeprefix('http')}/v1/stream"
    with connect(url, sock=narrow, compression=None, max_queue=1, ping_interval=None, close_timeout=1) as connection:
        message, until = frame(), time.monotonic() + 9
        try:
            while time.monotonic() < until:
                connection.send(message)
                time.sleep(0.01)
            while True:
                connection.recv()
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else None


def figure(address: str, name: str) -> float:
    """A metric's value."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx2.get(f"{address}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


BAD: dict[str, tuple[Callable[[str], int | None], int | None]] = {
    "vanishes": (vanish, None),
    "sends garbage": (lambda address: said(address, os.urandom(5000)), 1007),
    "sends too much": (lambda address: said(address, bytes(5_000_000)), 1009),
    "floods": (lambda address: said(address, frame(8, 8), times=2000), 1008),
    "sends 50 megapixels": (lambda address: said(address, fifty_megapixels()), 1009),
}


@pytest.mark.requirement("UI-5")
def test_only_the_stream_of_a_bad_client_ends(address: str) -> None:
    """Each ends with its code, the good one goes on being answered, and memory stays as it is."""
    answered: list[int] = []
    stop = threading.Event()

    def behave() -> None:
        with EFSNetClient(address) as client, client.stream() as stream:
            answers = iter(stream)
            while not stop.is_set():
                stream.send_grey(64, 64, bytes(4096))
                answered.append(next(answers).sequence)
                time.sleep(1 / 30)

    good = threading.Thread(target=behave)
    good.start()
    try:
        for act, code in BAD.values():  # before memory is looked at: each is met for the first time
            assert code == act(address)
        before = figure(address, "process_resident_memory_bytes")
        for _ in range(ROUNDS):
            for name, (act, code) in BAD.items():
                count = len(answered)
                assert code == act(address), name
                end = time.monotonic() + 30
                while len(answered) < count + 2 and time.monotonic() < end:
                    time.sleep(0.01)
                assert len(answered) >= count + 2, name
        assert 4001 == stall(address)
        grown = figure(address, "process_resident_memory_bytes") - before
    finally:
        stop.set()
        good.join()

    assert grown < 20e6
    end = time.monotonic() + 15
    while figure(address, "efs_stream_sessions") and time.monotonic() < end:
        time.sleep(0.1)
    assert 0 == figure(address, "efs_stream_sessions")


def test_stop_ends_streams_with_a_code(published_store: ModelStore) -> None:
    """A service that is told to stop does not wait for streams, and says so."""
    with serve([sys.executable, "-m", "service", "serve"], published_store.root, EFSNET_PROVIDER="cpu") as url:
        client = EFSNetClient(url)
        opened = client.stream()
        stream = opened.__enter__()
    with pytest.raises(StreamClosed, match=r"^10(01|12):"):
        list(stream)
