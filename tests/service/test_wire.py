"""What comes over the wire and is no proper request: each is answered in a problem's words, and ends its connection."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.processes import Service, started

IMAGE = b"Content-Type: image/png\r\n"
STREAM = (
    b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
MALFORMED, TOO_LARGE = (400, "request_malformed"), (431, "head_too_large")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, _store_to_copy: Path) -> Iterator[Service]:
    """A service that goes on whatever comes, and whose log tells of no failure."""
    folder = tmp_path_factory.mktemp("wire")
    with started(folder / "log", store=str(_store_to_copy), state=str(folder / "state")) as running:
        yield running
        answer = sent(running, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert " ERROR " not in running.log.read_text(encoding="utf-8")


def connect(service: Service) -> socket.socket:
    """A connection."""
    host, port = service.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def sent(service: Service, request: bytes) -> bytes:
    """All that comes back until the service ends the connection."""
    with connect(service) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def told(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer that is one problem, and nothing else."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    length = re.search(rb"content-length: (\d+)", head.lower())
    assert length
    assert int(length[1]) == len(body)
    problem = json.loads(body)
    assert int(head.split()[1]) == problem["status"]
    return problem["status"], problem["code"]


def post(headers: bytes, body: bytes = b"") -> bytes:
    """An upload with these headers."""
    return b"POST /v1/segment HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + body


@pytest.mark.requirement("BAD-1")
@pytest.mark.parametrize(
    ("request_", "expected"),
    {
        "no HTTP": (b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(200), MALFORMED),
        "HTTP/0.9": (b"GET /livez\r\n\r\n", MALFORMED),
        "no host": (b"GET /livez HTTP/1.1\r\n\r\n", MALFORMED),
        "two hosts": (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", MALFORMED),
        "a zero in a header": (b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", MALFORMED),
        "two lengths": (post(IMAGE + b"Content-Length: 1\r\nContent-Length: 2\r\n", b"xx"), MALFORMED),
        "a length below zero": (post(IMAGE + b"Content-Length: -1\r\n"), MALFORMED),
        "a length that is no number": (post(IMAGE + b"Content-Length: \xb2\r\n"), MALFORMED),
        "a length of 5000 digits": (post(IMAGE + b"Content-Length: " + b"9" * 5000 + b"\r\n"), MALFORMED),
        "packed chunks": (post(IMAGE + b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), MALFORMED),
        "a chunk without a length": (post(IMAGE + b"Transfer-Encoding: chunked\r\n", b"zz\r\n"), MALFORMED),
        "an address of 1 MB": (b"GET /livez?" + bytes(1_000_000).replace(b"\0", b"a") + b" HTTP/1.1\r\n", TOO_LARGE),
        "10,000 headers": (b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Long-Name: 1234\r\n" * 10_000, TOO_LARGE),
    }.values(),
)
def test_what_is_no_request_is_told_so(service: Service, request_: bytes, expected: tuple[int, str]) -> None:
    """By a problem like any other, in a connection that ends."""
    with connect(service) as connection:
        connection.sendall(request_)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:  # what was sent and not read is in the way of an orderly end
            pass

    assert expected == told(answer)


@pytest.mark.requirement("BAD-3")
def test_a_request_that_says_its_length_in_two_ways_is_refused(service: Service, image: bytes) -> None:
    """It would pass every limit that looks at Content-Length, and hide a second request from a proxy."""
    chunks = f"{len(image):x}\r\n".encode() + image + b"\r\n0\r\n\r\n"
    headers = IMAGE + b"Content-Length: 10\r\nTransfer-Encoding: chunked\r\n"

    assert MALFORMED == told(sent(service, post(headers, chunks) + b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))


@pytest.mark.parametrize(
    ("opening", "expected"),
    {
        "a body": (STREAM + b"Content-Length: 100\r\n\r\n" + bytes(100), MALFORMED),
        "a long ticket": (STREAM.replace(b"stream ", b"stream?ticket=" + b"a" * 20_000 + b" ") + b"\r\n", MALFORMED),
        "a long header": (STREAM + b"X: " + b"a" * 20_000 + b"\r\n\r\n", MALFORMED),
        "300 headers": (STREAM + b"X: a\r\n" * 300 + b"\r\n", MALFORMED),
        "a site that is none": (STREAM + b"Origin: http://[\r\n\r\n", (403, "origin_refused")),
        "another parameter": (STREAM.replace(b"stream ", b"stream?x=1 ") + b"\r\n", (422, "parameter_invalid")),
        "another path": (STREAM.replace(b"/v1/stream", b"/v1/models") + b"\r\n", (404, "not_found")),
    }.values(),
)
def test_what_opens_no_stream_is_told_so(service: Service, opening: bytes, expected: tuple[int, str]) -> None:
    """And holds no connection."""
    assert expected == told(sent(service, opening))


def test_what_turns_into_nonsense_behind_an_answer_ends(service: Service) -> None:
    """It has been refused, and nothing is left to be told."""
    with connect(service) as connection:
        connection.sendall(post(b"Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n", b"1\r\na\r\n"))
        answer = b""
        while not answer.endswith(b"}") and (part := connection.recv(65536)):
            answer += part
        connection.sendall(b"zz\r\n")

        assert told(answer) == (415, "media_type_unsupported")
        assert connection.recv(65536) == b""
