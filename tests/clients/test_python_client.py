"""clients/python, on a real service behind a real port."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from efsnet_client import EFSNetClient, Problem, StreamClosed
from model_store.store import ModelStore
from service.keys import KeyRing
from tests.clients.conftest import Serve


def test_image_is_segmented(serve: Serve, picture: bytes, tmp_path: Path) -> None:
    """A path or bytes come back as areas and masks."""
    (tmp_path / "image.png").write_bytes(picture)
    with EFSNetClient(serve()) as client:
        answer = client.segment(tmp_path / "image.png", pixel_spacing_mm="0.1,0.1")
        mask = np.asarray(PillowImage.open(io.BytesIO(client.segment_as("image/png", picture))))

    assert ["benign", "malignant"] == [area["label"] for area in answer["classes"]]
    assert int((mask == 1).sum()) == answer["classes"][0]["pixels"] > 0
    assert answer["classes"][0]["area_mm2"] == pytest.approx(answer["classes"][0]["pixels"] * 0.01)


def test_refusal_is_raised_with_its_code(serve: Serve) -> None:
    """What the service says no to is not tried again."""
    waited_s: list[float] = []
    with EFSNetClient(serve(), sleep=waited_s.append) as client, pytest.raises(Problem) as refused:
        client.segment(b"no image")

    assert [] == waited_s
    assert (422, "image_undecodable") == (refused.value.status, refused.value.code)


@pytest.mark.requirement("UI-7")
def test_busy_service_is_asked_again_when_it_says(serve: Serve, picture: bytes, tmp_path: Path) -> None:
    """A service that is not ready is tried so often, and each time after as long as its Retry-After says."""
    waited_s: list[float] = []
    address = serve(store=tmp_path / "empty", model="missing")
    with EFSNetClient(address, tries=3, sleep=waited_s.append) as client, pytest.raises(Problem) as refused:
        client.segment(picture)

    assert (503, "model_not_ready") == (refused.value.status, refused.value.code)
    assert [5.0, 5.0] == waited_s


def test_key_is_sent(serve: Serve, published_store: ModelStore, picture: bytes) -> None:
    """To images and streams alike."""
    ring = KeyRing(published_store.root.with_name("store-state") / "keys.json")
    key, _ = ring.create("client", ["infer"], 1)
    address = serve()
    with EFSNetClient(address) as client, pytest.raises(Problem, match="credentials_missing"):
        client.segment(picture)
    with EFSNetClient(address, key=key) as client, client.stream() as stream:
        assert client.segment(picture)["classes"]
        assert "efsnet" == stream.ready["model"]


def test_frames_are_answered(serve: Serve, picture: bytes) -> None:
    """A stream gives the masks of its frames, and tells who answers."""
    with EFSNetClient(serve()) as client, client.stream() as stream:
        answers = iter(stream)
        assert 0 == stream.send(picture)
        first = next(answers)
        assert 1 == stream.send_grey(2, 2, bytes(4))
        second = next(answers)

    assert (64, 64) == (stream.ready["rows"], stream.ready["columns"])
    assert (0, 1) == (first.sequence, second.sequence)
    assert first.summary["classes"][0]["pixels"] > 0
    assert np.asarray(PillowImage.open(io.BytesIO(first.mask))).any()
    assert not np.asarray(PillowImage.open(io.BytesIO(second.raw_mask))).any()
    assert first.latency_ms > 0


def test_end_of_a_stream_is_raised_with_its_code(serve: Serve, picture: bytes) -> None:
    """Code and reason are the service's."""
    with EFSNetClient(serve(stream={"idle_s": 0.05})) as client, client.stream() as stream:
        with pytest.raises(StreamClosed, match="4000: No frame came"):
            list(stream)
        with pytest.raises(StreamClosed):
            stream.send(picture)


def test_unknown_kind_of_frame_is_refused_before_it_is_sent(serve: Serve) -> None:
    """The service would end the stream."""
    with EFSNetClient(serve()) as client, client.stream() as stream, pytest.raises(ValueError, match="JPEG or PNG"):
        stream.send(b"GIF89a")


@pytest.fixture
def proxy() -> Iterator[str]:
    """Address of a proxy that has no service behind it, and knows of no problem details."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(502)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "3")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"<p>")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(301)
            self.send_header("Location", "https://efsnet.hospital.org/")
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_a_proxy_says_is_a_refusal_too(proxy: str, picture: bytes) -> None:
    """Even if it is no error to HTTP, and whatever its body is."""
    with EFSNetClient(proxy) as client:
        with pytest.raises(Problem, match="301"):
            client.segment(picture)
        with pytest.raises(Problem, match="502"), client.stream():
            pass


def test_client_has_less_than_200_lines(repository: Path) -> None:
    """It can be read in one go, and copied."""
    lines = (repository / "clients" / "python" / "efsnet_client" / "__init__.py").read_text().splitlines()

    assert len(lines) < 200
