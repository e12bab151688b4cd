"""WS /v1/stream: frames in, masks out. docs/live.md is the protocol."""

import asyncio
import contextlib
import logging
import time
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, WebSocket
from starlette.websockets import WebSocketDisconnect

from efsnet.errors import ImageError, TooManyPixels
from model_store.errors import ModelStoreError
from model_store.loading import LoadedVersion
from service.api.problems import responses
from service.api.stream_messages import IssuedTicket, Ready, Statistics, StreamQuery
from service.errors import FrameMalformed, ModelNotReady, QueueFull, ServiceError, TooManyStreams
from service.holders import Holders
from service.keys import Key
from service.live.messages import FrameMessage, MaskFormat
from service.live.stream import Stream
from service.live.streams import Allowance, Streams, until_one_ends
from service.live.tickets import Tickets
from service.metrics import Metrics
from service.segmentation import Segmenter
from service.settings import Settings

NORMAL, GOING_AWAY, NO_FRAME, UNREADABLE, POLICY, TOO_LARGE = 1000, 1001, 1003, 1007, 1008, 1009
FAILED, TRY_LATER = 1011, 1013
IDLE, STALLED = 4000, 4001
"""Codes with which a stream is closed: RFC 6455 section 7.4.1 and, from 4000, our own."""

TICK_S = 1.0
"""Between two statistics."""
FRAMES = 8
"""Innermost frames of an unexpected error that the log shows."""
LONGEST_REASON = 120
"""Bytes. A close frame has room for 123 (RFC 6455 section 5.5)."""

_LOG = logging.getLogger("service.stream")


class Ended(Exception):
    """A stream is over, with the code and the reason that the client is told."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason.encode()[:LONGEST_REASON].decode(errors="ignore")


_CODES: dict[type[Exception], int] = {
    TooManyPixels: TOO_LARGE,
    ImageError: UNREADABLE,
    FrameMalformed: UNREADABLE,
    TooManyStreams: TRY_LATER,
    ModelNotReady: TRY_LATER,
    QueueFull: TRY_LATER,
    ServiceError: POLICY,
    ModelStoreError: POLICY,
}
"""The first that fits counts."""


class LiveService:
    """What the streams of one application have in common.

    Args:
        segmenter: Whose versions and workers answer.
        streams: All of them.
        holders: Who may have one.
        metrics: To be told.
        settings: Of the application.
    """

    def __init__(
        self, segmenter: Segmenter, streams: Streams, holders: Holders, metrics: Metrics, settings: Settings
    ) -> None:
        self.versions = segmenter.versions
        self.streams = streams
        self.holders = holders
        self.metrics = metrics
        self.tickets = Tickets(settings.stream.ticket_s)
        self.settings = settings.stream


def stream_routes(live: LiveService) -> APIRouter:
    """Live mode."""
    router = APIRouter(tags=["live"])

    @router.post("/v1/stream/ticket", responses=responses(TooManyStreams, ModelNotReady))
    async def ticket(request: Request) -> IssuedTicket:
        """A ticket for `WS /v1/stream`, for browsers, which cannot give a WebSocket the header with the key."""
        live.streams.refuse_if_full()
        key: Key | None = request.state.key
        return IssuedTicket(ticket=live.tickets.issue(key.id if key else ""), expires_in_s=live.tickets.lifetime_s)

    @router.websocket("/v1/stream")
    async def stream(websocket: WebSocket, query: Annotated[StreamQuery, Query()]) -> None:
        await websocket.accept()
        since = time.monotonic()
        try:
            ended = await _served(websocket, query, live)
        except WebSocketDisconnect as gone:
            ended = Ended(gone.code, "the client left")
        else:
            await _close(websocket, ended)
        live.metrics.stream_ends.labels(str(_known(ended.code))).inc()
        words = websocket.state.request_id, ended.code, ended.reason, time.monotonic() - since
        _LOG.info("request_id=%s code=%d reason=%r duration_s=%.1f", *words)

    return router


def _known(code: int) -> int:
    """A code for a metric: what clients make up is none of its labels."""
    known = {NORMAL, GOING_AWAY, NO_FRAME, UNREADABLE, POLICY, TOO_LARGE, FAILED, 1012, TRY_LATER, IDLE, STALLED}
    return code if code in known else 1006


async def _served(websocket: WebSocket, query: StreamQuery, live: LiveService) -> Ended:
    """Serves a stream to its end, and says how that came.

    Raises:
        WebSocketDisconnect: The client left.
    """
    try:
        with live.streams.place():
            loaded = await live.versions.get(query.model, query.version)
            await _Conversation(websocket, query, loaded, live).run()
    except Ended as ended:
        return ended
    except tuple(_CODES) as error:
        return Ended(next(code for kind, code in _CODES.items() if isinstance(error, kind)), str(error))
    except WebSocketDisconnect:
        raise
    except Exception as error:  # noqa: BLE001 - only this stream ends
        # Without the error's own text, which may quote the input.
        frames = "".join(traceback.format_tb(error.__traceback__, limit=-FRAMES))
        _LOG.error("request_id=%s error=%s\n%s", websocket.state.request_id, type(error).__name__, frames)
        return Ended(FAILED, "The service failed; the log has more.")
    return Ended(NORMAL, "")


async def _close(websocket: WebSocket, ended: Ended) -> None:
    """Tells the client, if it can still be told."""
    with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
        async with asyncio.timeout(TICK_S):
            await websocket.close(ended.code, ended.reason)


class _Conversation:
    """What goes both ways on one stream: frames and answers, each newest first, and statistics every second."""

    def __init__(self, websocket: WebSocket, query: StreamQuery, loaded: LoadedVersion, live: LiveService) -> None:
        self._websocket = websocket
        self._live = live
        self._settings = live.settings
        loop = asyncio.get_running_loop()
        kind = MaskFormat[query.format.upper()]
        self._stream = Stream(
            loaded, kind, live.settings.max_pixels, lambda answer: _call(loop, lambda: self._put(answer))
        )
        self._answer: bytes | None = None
        self._answered = asyncio.Event()

    async def run(self) -> None:
        """Raises what ends the stream, and nothing else ends it."""
        await self._send_text(Ready.of(self._stream.loaded).model_dump_json())
        try:
            await until_one_ends(self._receive(), self._live.streams.answer(self._stream), self._send(), self._tell())
        finally:
            counts, frames = self._stream.counts, self._live.metrics.stream_frames
            frames.labels("answered").inc(counts.answered)
            frames.labels("dropped").inc(counts.dropped)
            frames.labels("unsent").inc(counts.unsent)
            changed = self._live.metrics.stream_changed
            changed.labels("shown").inc(counts.changed_shown)
            changed.labels("raw").inc(counts.changed_raw)

    async def _receive(self) -> None:
        allowance, since = Allowance(self._settings.frames_per_s), time.monotonic()
        while True:
            try:
                async with asyncio.timeout(self._settings.idle_s):
                    message = await self._websocket.receive()
            except TimeoutError as error:
                raise Ended(IDLE, f"No frame came for {self._settings.idle_s:g} s.") from error
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"], message.get("reason"))
            frame = message.get("bytes")
            if frame is None:
                raise Ended(NO_FRAME, "Frames are binary messages; this was text.")
            if len(frame) > self._settings.max_bytes:
                raise Ended(TOO_LARGE, f"A message has at most {self._settings.max_bytes:,} bytes.")
            if not allowance.takes(time.monotonic() - since):
                raise Ended(POLICY, f"More than {self._settings.frames_per_s} frames a second came.")
            self._stream.put(FrameMessage.parse(frame))

    def _put(self, answer: bytes) -> None:
        counts = self._stream.counts
        counts.answered += 1
        counts.unsent += self._answer is not None
        self._live.metrics.stream_latency.observe(counts.latencies_ms[-1] / 1000)
        self._answer = answer
        self._answered.set()

    async def _send(self) -> None:
        while True:
            await self._answered.wait()
            self._answered.clear()
            answer, self._answer = self._answer, None
            async with self._taken_in_time():
                await self._websocket.send({"type": "websocket.send", "bytes": answer})

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self._websocket.app.state.stopping:
                raise Ended(GOING_AWAY, "The service stops.")
            key: Key | None = self._websocket.state.key
            self._live.holders.named(key.id if key else "", "infer")  # it may have been revoked
            self._live.versions.sound(self._stream.loaded)
            await self._send_text(Statistics.of(self._stream.counts).model_dump_json())

    async def _send_text(self, text: str) -> None:
        async with self._taken_in_time():
            await self._websocket.send({"type": "websocket.send", "text": text})

    @contextlib.asynccontextmanager
    async def _taken_in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._settings.stall_s):
                yield
        except TimeoutError as error:
            raise Ended(STALLED, f"Answers were not read for {self._settings.stall_s:g} s.") from error


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """From a worker's thread; nobody minds where the loop has ended before."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function)
