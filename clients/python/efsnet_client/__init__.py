"""A client of the EFSNet service: images in, masks and areas out, and live streams.

from efsnet_client import EFSNetClient

with EFSNetClient("http://127.0.0.1:8000") as client:
    print(client.segment("image.png")["lesions"])
"""

import json
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx2
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

__all__ = ["EFSNetClient", "LiveAnswer", "LiveStream", "Problem", "StreamClosed"]

TRY_AGAIN = frozenset((429, 502, 503, 504))
"""Statuses that may pass."""

_HEADER, _LENGTHS = struct.Struct(">IQHH"), struct.Struct(">III")
_FORMATS = {b"\xff\xd8": 1, b"\x89P": 2}


class Problem(Exception):
    """The service refused, and says why with a stable `code`; a proxy in its place gives the status only."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes | bytearray) -> None:
        is_problem = headers.get("content-type", "").startswith("application/problem+json")
        content: dict[str, Any] = json.loads(body) if is_problem else {}
        super().__init__(f"{status} {content.get('code', '')}: {content.get('detail', '')}")
        self.status = status
        self.code = str(content.get("code", ""))
        self.content = content


class StreamClosed(Exception):
    """The service has closed the stream; docs/live.md lists the codes."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """The answer to a frame."""

    sequence: int
    """Of the frame, from 0."""
    latency_ms: float
    """From the sending of the frame until its answer was here."""
    summary: dict[str, Any]
    """Areas of the classes; whether the picture is another one, or frozen."""
    mask: bytes
    """The shown mask, a palette PNG whose pixel values are class numbers."""
    raw_mask: bytes
    """The same without smoothing."""


class LiveStream:
    """Frames in, answers out. One thread may send while another one receives.

    `ready` says who answers, the grid of the masks and their classes; `statistics` are the newest.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._sent = 0
        self.ready: dict[str, Any] = json.loads(self._receive())
        self.statistics: dict[str, Any] = {}

    def send(self, picture: bytes) -> int:
        """Sends a JPEG or PNG file and gives its sequence number; StreamClosed if the stream is over."""
        kind = _FORMATS.get(picture[:2])
        if kind is None:
            raise ValueError("A frame is a JPEG or PNG file; send_grey takes pixels.")
        return self._send(kind, picture)

    def send_grey(self, rows: int, columns: int, pixels: bytes) -> int:
        """As `send`, for grey pixels: a byte each, row after row."""
        return self._send(3, struct.pack(">HH", rows, columns) + pixels)

    def __iter__(self) -> Iterator[LiveAnswer]:
        """The answers as they come; StreamClosed once the stream is over."""
        while True:
            message = self._receive()
            if isinstance(message, str):
                self.statistics = json.loads(message)
                continue
            sequence, sent_us, _, _ = _HEADER.unpack_from(message)
            summary, mask, raw_mask = _LENGTHS.unpack_from(message, _HEADER.size)
            parts = struct.unpack_from(f"{summary}s{mask}s{raw_mask}s", message, _HEADER.size + _LENGTHS.size)
            latency_ms = (time.monotonic_ns() / 1000 - sent_us) / 1000
            yield LiveAnswer(sequence, latency_ms, json.loads(parts[0]), parts[1], parts[2])

    def _send(self, kind: int, picture: bytes) -> int:
        sequence, self._sent = self._sent, self._sent + 1
        with _end_told():
            self._connection.send(_HEADER.pack(sequence, time.monotonic_ns() // 1000, kind, 0) + picture)
        return sequence

    def _receive(self) -> str | bytes:
        with _end_told():
            return self._connection.recv()


@contextmanager
def _end_told() -> Iterator[None]:
    try:
        yield
    except ConnectionClosed as error:
        code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "The connection broke.")
        raise StreamClosed(code, reason) from error


class EFSNetClient:
    """A service, and the connections to it. For any number of threads.

    Args:
        url: Of the service, as `https://efsnet.hospital.org`, with the path under which it is published.
        key: An API key, where one is needed.
        tries: Of a request in all, where the service is busy or not ready: each waits as long as it says.
        timeout_s: Of a try.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        tries: int = 5,
        timeout_s: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url = url.rstrip("/")
        self._http = httpx2.Client(base_url=self._url, headers=self._headers, timeout=timeout_s)
        self._tries = tries
        self._sleep = sleep

    def segment(self, image: str | Path | bytes, **query: str | int) -> dict[str, Any]:
        """Masks and areas of an image: a file's path, or its bytes; PNG, JPEG, BMP, TIFF or DICOM.

        The query is as `/docs` lists, such as `version="production"` and `pixel_spacing_mm="0.1,0.1"`.

        Raises:
            Problem: The service refused.
        """
        answer: dict[str, Any] = self._post(image, query, "application/json").json()
        return answer

    def segment_as(self, media_type: Literal["image/png", "application/dicom"], image: str | Path | bytes) -> bytes:
        """The mask as a palette PNG whose pixel values are class numbers, or a DICOM instance's segmentation."""
        return self._post(image, {}, media_type).content

    @contextmanager
    def stream(self, *, version: str = "production") -> Iterator[LiveStream]:
        """A live stream, answered by this version to its end, which comes with the block's.

        Raises:
            Problem: The service refused.
            StreamClosed: The service has closed it, since it has enough of them or is not ready.
        """
        address = f"ws{self._url.removeprefix('http')}/v1/stream?version={version}"
        try:
            with connect(address, additional_headers=self._headers, compression=None, proxy=None) as connection:
                yield LiveStream(connection)
        except InvalidStatus as error:
            raise Problem(error.response.status_code, error.response.headers, error.response.body or b"") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def _post(self, image: str | Path | bytes, query: Mapping[str, str | int], accept: str) -> httpx2.Response:
        content = image if isinstance(image, bytes) else Path(image).read_bytes()
        headers = {"Accept": accept, "Content-Type": "application/octet-stream"}
        for left in reversed(range(self._tries)):
            answer = self._http.post("/v1/segment", content=content, params=dict(query), headers=headers)
            if answer.status_code not in TRY_AGAIN or not left:
                break
            waiting = answer.headers.get("retry-after", "")
            self._sleep(min(float(waiting), 60.0) if waiting.isdigit() else 1.0)
        if not answer.is_success:
            raise Problem(answer.status_code, answer.headers, answer.content)
        return answer
