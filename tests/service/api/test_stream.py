"""WS /v1/stream, as a client sees it."""

import io
import json
import struct
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from efsnet.rle import decode
from model_store.loading import LoadedVersion
from model_store.manifest import Draft
from model_store.store import ModelStore
from model_store.version import Version
from service.keys import KeyRing
from tests.service.conftest import Gate, Start, app_of, encoded

URL = "/v1/stream"
JPEG, PNG, GREY = 1, 2, 3


def frame(picture: bytes, kind: int = PNG, *, sequence: int = 7, captured_us: int = 123_456) -> bytes:
    """A frame as docs/live.md lays it out."""
    return struct.pack(">IQHH", sequence, captured_us, kind, 0) + picture


def grey(pixels: NDArray[np.uint8]) -> bytes:
    """A raw grey picture."""
    return struct.pack(">HH", *pixels.shape) + pixels.tobytes()


def answer(stream: WebSocketTestSession) -> tuple[tuple[int, ...], dict[str, Any], bytes, bytes]:
    """Header, summary, shown mask and raw mask of the next answer; statistics before it are passed over."""
    while (message := stream.receive())["type"] == "websocket.send":
        if (data := message.get("bytes")) is not None:
            header, lengths = struct.unpack_from(">IQHH", data), struct.unpack_from(">III", data, 16)
            ends = np.cumsum((28, *lengths))
            summary, shown, raw = (data[start:end] for start, end in pairwise(ends))
            assert ends[-1] == len(data)
            return header, json.loads(summary), shown, raw
    raise WebSocketDisconnect(message["code"], message["reason"])


def ended(stream: WebSocketTestSession) -> tuple[int, str]:
    """Code and reason with which a stream is closed; what comes before is passed over."""
    while (message := stream.receive())["type"] == "websocket.send":
        pass
    return message["code"], message["reason"]


def classes(png: bytes) -> NDArray[np.uint8]:
    """The class numbers in a mask."""
    return np.asarray(PillowImage.open(io.BytesIO(png)))


def test_first_message_says_who_answers(start: Start, published_store: ModelStore) -> None:
    """A client learns the version, the engine, the grid and the classes before it sends anything."""
    with start().websocket_connect(URL) as stream:
        ready = stream.receive_json()

    assert ("ready", "efsnet", 1, 64, 64) == tuple(
        ready[key] for key in ("type", "model", "version", "rows", "columns")
    )
    assert str(published_store.version("efsnet", "1").digest) == ready["digest"]
    assert ["background", "benign", "malignant"] == [each["label"] for each in ready["classes"]]
    assert ready["engine"]
    assert "Not a medical device" in ready["notice"]


@pytest.mark.parametrize("kind", [JPEG, PNG, GREY])
def test_frame_is_answered_with_its_mask(client: TestClient, pixels: NDArray[np.uint8], kind: int) -> None:
    """Each kind of frame comes back as a mask on the network's grid, under the client's own number and time."""
    picture = {JPEG: encoded(pixels, "JPEG", quality=95), PNG: encoded(pixels), GREY: grey(pixels)}[kind]
    with client.websocket_connect(URL) as stream:
        stream.send_bytes(frame(picture, kind))
        header, summary, shown, raw = answer(stream)

    assert (7, 123_456, 2, 0) == header
    mask = classes(shown)
    assert (64, 64) == mask.shape
    assert (0, 1, 2) == (mask[5, 30], mask[17, 15], mask[45, 44])
    assert shown == raw
    assert [int((mask == number).sum()) for number in (1, 2)] == [each["pixels"] for each in summary["classes"]]
    assert summary["is_cut"]


def test_masks_can_be_run_lengths(client: TestClient, image: bytes) -> None:
    """With format=rle the masks are COCO's run lengths, as elsewhere."""
    with client.websocket_connect(URL) as png, client.websocket_connect(f"{URL}?format=rle") as rle:
        png.send_bytes(frame(image))
        rle.send_bytes(frame(image))
        _, _, expected, _ = answer(png)
        header, _, shown, _ = answer(rle)

    assert 4 == header[2]
    for each in json.loads(shown):
        np.testing.assert_array_equal(classes(expected) == each["number"], decode(each["rle"]))


def test_one_frame_without_the_lesion_does_not_lose_it(client: TestClient, image: bytes) -> None:
    """The shown mask goes on for a moment where the raw one is empty: it flickers less; the raw one comes along."""
    rng = np.random.default_rng(0)
    still = np.asarray(PillowImage.open(io.BytesIO(image)))
    noise = rng.integers(0, 12, still.shape, dtype=np.uint8)
    faded = np.where(still >= 100, 95, still).astype(np.uint8)
    with client.websocket_connect(URL) as stream:
        for picture in (still, still + noise, faded):
            stream.send_bytes(frame(grey(picture), GREY))
            _, summary, shown, raw = answer(stream)

    assert not summary["is_cut"]
    assert not classes(raw).any()
    assert classes(shown).any()


@pytest.mark.requirement("UI-4")
def test_newest_frame_wins(start: Start, gated: Callable[[Version], LoadedVersion], gate: Gate, image: bytes) -> None:
    """Frames that come while all workers are busy replace each other, and are counted."""
    client = start(load_version=gated, workers=1)
    with client.websocket_connect(URL) as stream:
        stream.send_bytes(frame(image, sequence=1))
        gate.await_calls(1)
        for sequence in range(2, 7):
            stream.send_bytes(frame(image, sequence=sequence))
        statistics: dict[str, Any] = {}
        while statistics.get("received", 0) < 6:
            statistics = json.loads(stream.receive_text())
        gate.opened.set()
        answered = [answer(stream)[0][0] for _ in range(2)]

    assert (6, 4) == (statistics["received"], statistics["dropped"])
    assert [1, 6] == answered


@pytest.mark.requirement("UI-4")
def test_stream_keeps_its_version(
    start: Start, published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes], image: bytes
) -> None:
    """A promotion in the middle changes no stream that runs: its masks stay comparable."""
    client = start()
    with client.websocket_connect(URL) as stream:
        stream.send_bytes(frame(image))
        answer(stream)
        published_store.publish("efsnet", tiny_draft, {**tiny_contents, "MODEL_CARD.md": b"# Another\n"})
        published_store.promote("efsnet", "production", 2, by="the tests", why="the second", force_because="a test")
        assert client.portal
        client.portal.call(app_of(client).state.versions.follow)
        stream.send_bytes(frame(image))
        answer(stream)
        with client.websocket_connect(URL) as later:
            assert 2 == later.receive_json()["version"]


GARBAGE = {
    "no header": (b"x" * 5, 1007, "header"),
    "unknown format": (frame(b"x", 9), 1007, "format is 1"),
    "no picture": (frame(b"x" * 100, PNG), 1007, "no PNG"),
    "cut off": (frame(b"\x89PNG\r\n\x1a\n" + b"\0" * 20), 1007, "damaged"),
    "grey of another size": (frame(struct.pack(">HH", 4, 4) + b"x" * 15, GREY), 1007, "4 x 4"),
    "grey without size": (frame(b"x", GREY), 1007, "rows and columns"),
}


@pytest.mark.parametrize(("message", "code", "reason"), GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_ends_the_stream(client: TestClient, message: bytes, code: int, reason: str) -> None:
    """What is no frame ends its stream with a code and a reason."""
    with client.websocket_connect(URL) as stream:
        stream.send_bytes(message)
        closed = ended(stream)

    assert code == closed[0]
    assert reason in closed[1]


def test_text_ends_the_stream(client: TestClient) -> None:
    """Frames are binary."""
    with client.websocket_connect(URL) as stream:
        stream.send_text("a frame")

        assert (1003, "Frames are binary messages; this was text.") == ended(stream)


def test_frame_of_fifty_megapixels_ends_the_stream(client: TestClient) -> None:
    """It is refused by its header, before a pixel is decoded."""
    file = io.BytesIO()
    PillowImage.new("1", (10_000, 5_000)).save(file, "PNG")
    with client.websocket_connect(URL) as stream:
        stream.send_bytes(frame(file.getvalue()))

        assert 1009 == ended(stream)[0]


def test_message_over_the_limit_ends_the_stream(start: Start) -> None:
    """Also where the server in front lets it through."""
    client = start(stream={"max_bytes": 1000})
    with client.websocket_connect(URL) as stream:
        stream.send_bytes(frame(b"x" * 1000))

        assert (1009, "A message has at most 1,000 bytes.") == ended(stream)


def test_flood_ends_the_stream(start: Start) -> None:
    """Far more frames than there can be are no examination."""
    client = start(stream={"frames_per_s": 5})
    with client.websocket_connect(URL) as stream:
        for _ in range(30):
            stream.send_bytes(frame(grey(np.zeros((8, 8), np.uint8)), GREY))

        assert (1008, "More than 5 frames a second came.") == ended(stream)


def test_stream_without_frames_ends(start: Start) -> None:
    """A page that was forgotten takes no place for ever."""
    client = start(stream={"idle_s": 0.05})
    with client.websocket_connect(URL) as stream:
        assert (4000, "No frame came for 0.05 s.") == ended(stream)


def test_streams_are_limited(start: Start, image: bytes) -> None:
    """One more than there may be is told so, those that run go on, and a place that is left can be taken."""
    client = start(stream={"limit": 1})
    with client.websocket_connect(URL) as first:
        first.receive_json()
        with client.websocket_connect(URL) as second:
            assert 1013 == ended(second)[0]
        refused = client.post(f"{URL}/ticket")
        assert (429, "too_many_streams") == (refused.status_code, refused.json()["code"])
        first.send_bytes(frame(image))
        answer(first)
    with client.websocket_connect(URL) as third:
        assert "ready" == third.receive_json()["type"]


def test_unknown_version_ends_the_stream(client: TestClient) -> None:
    """With the versions that there are."""
    with client.websocket_connect(f"{URL}?version=9") as stream:
        code, reason = ended(stream)

    assert 1008 == code
    assert "The versions of efsnet are" in reason


@pytest.mark.parametrize("query", ["format=gif", "smoothing=off"])
def test_query_that_cannot_be_opens_no_stream(client: TestClient, query: str) -> None:
    """An option of another name or value than there is: the problem says which."""
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(f"{URL}?{query}"):
        pass

    assert (422, "parameter_invalid") == (refused.value.status_code, refused.value.json()["code"])


def test_unexpected_error_ends_the_stream_alone(
    start: Start, image: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told that the service failed, the log where, and neither what the error quotes."""
    words = "of a pat" + "ient"

    def refuse(*_: object) -> None:
        raise ZeroDivisionError(words)

    client = start()
    loaded = app_of(client).state.versions.default
    for predictor in loaded.predictors:
        monkeypatch.setattr(predictor, "run", refuse)
    with client.websocket_connect(URL) as stream:
        stream.send_bytes(frame(image))

        assert (1011, "The service failed; the log has more.") == ended(stream)
    assert "ZeroDivisionError" in caplog.text
    assert words not in caplog.text


def test_metrics_count_streams_and_frames(start: Start, image: bytes) -> None:
    """Operators see how many streams there are, how many frames they answer, and how streams end."""
    client = start()
    with client.websocket_connect(URL) as stream:
        stream.send_bytes(frame(image))
        answer(stream)
        assert "efs_stream_sessions 1.0" in client.get("/metrics").text
        stream.send_text("")
        ended(stream)
    text = client.get("/metrics").text

    assert "efs_stream_sessions 0.0" in text
    assert 'efs_stream_frames_total{outcome="answered"} 1.0' in text
    assert "efs_stream_frame_latency_seconds_count 1.0" in text
    assert 'efs_stream_ends_total{code="1003"} 1.0' in text


def test_stopping_service_ends_streams(start: Start) -> None:
    """A stream is told that the service stops, so that its client goes elsewhere."""
    client = start()
    with client.websocket_connect(URL) as stream:
        stream.receive_json()
        app_of(client).state.stopping = True

        assert (1001, "The service stops.") == ended(stream)
    app_of(client).state.stopping = False


@pytest.fixture
def ring(published_store: ModelStore) -> KeyRing:
    """The keys of a service on the published store."""
    return KeyRing(published_store.root.with_name("store-state") / "keys.json")


def opened(client: TestClient, url: str, **headers: str) -> str:
    """The type of the first message, or the code of the problem that there is."""
    try:
        with client.websocket_connect(url, headers=headers) as stream:
            return str(stream.receive_json()["type"])
    except WebSocketDenialResponse as refused:
        return f"{refused.status_code} {refused.json()['code']}"


def test_key_or_ticket_opens_a_stream(start: Start, ring: KeyRing) -> None:
    """Where keys are needed, a stream takes one in the header, or a ticket that was given for one, once."""
    key, _ = ring.create("page", ["infer"], 1)
    reader, _ = ring.create("reader", ["read"], 1)
    client = start()
    ticket = client.post(f"{URL}/ticket", headers={"Authorization": f"Bearer {key}"}).json()["ticket"]

    assert "401 credentials_missing" == opened(client, URL)
    assert "403 scope_missing" == opened(client, URL, Authorization=f"Bearer {reader}")
    assert "ready" == opened(client, URL, Authorization=f"Bearer {key}")
    assert "ready" == opened(client, f"{URL}?ticket={ticket}")
    assert "403 ticket_invalid" == opened(client, f"{URL}?ticket={ticket}")
    assert "403 ticket_invalid" == opened(client, f"{URL}?ticket=efs_made_up")
    assert 401 == client.post(f"{URL}/ticket").status_code


def test_stream_ends_when_its_key_is_revoked(start: Start, ring: KeyRing) -> None:
    """Who was let in with a key stays no longer than the key."""
    text, key = ring.create("page", ["infer"], 1)
    client = start()
    with client.websocket_connect(URL, headers={"Authorization": f"Bearer {text}"}) as stream:
        stream.receive_json()
        ring.revoke(key.id)

        assert (1008, "The key was revoked.") == ended(stream)


def test_pages_of_other_sites_open_no_stream(start: Start) -> None:
    """A page that somebody was lured to must not use their browser's way in; the operator may allow sites."""
    client = start(stream={"origins": "https://viewer.hospital.org"})

    assert "ready" == opened(client, URL, Origin="http://testserver")
    assert "ready" == opened(client, URL, Origin="https://viewer.hospital.org")
    assert "403 origin_refused" == opened(client, URL, Origin="https://elsewhere.org")


@pytest.mark.parametrize("prefix", ["", "/efsnet"])
def test_stream_under_a_root_path(start: Start, prefix: str) -> None:
    """A proxy may publish the service under a path, and take that off or not."""
    assert "ready" == opened(start(root_path="/efsnet"), f"{prefix}{URL}")


def test_other_paths_take_no_websocket(client: TestClient) -> None:
    """There is one WebSocket."""
    assert "404 not_found" == opened(client, "/v1/segment")


def test_ticket_is_not_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the request and how the stream ended, and neither ticket nor address."""
    client = start()
    ticket = client.post(f"{URL}/ticket").json()["ticket"]
    with caplog.at_level("INFO"), client.websocket_connect(f"{URL}?ticket={ticket}") as stream:
        stream.send_text("")
        ended(stream)

    assert "code=1003" in caplog.text
    assert ticket not in caplog.text
