"""Connections that cost nothing: who sends slowly, reads slowly, only holds the line or talks nonsense is cut off."""

import asyncio
import socket
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.api import problems
from service.errors import RequestMalformed

HEAD_S = 10.0
"""Time in which the head of a request must have come, from its first byte or the connection's beginning on."""

READ_S = 30.0
"""Time in which a client must take what fills its connection."""

PACE_S = 40.0
"""Time between two looks at how a body comes; longer than uploads have by default, which are told why they end."""

PACE_BYTES_PER_S = 240
"""How fast a body must come at least, whatever it is for."""

LINGER_S = 10.0
"""Time in which a client that was told of its stream's end must have read what was sent before."""

DISCARD_S = 1.0
"""Time in which the rest of a message is thrown away that was too large."""

SEND_BUFFER_BYTES = 65_536
"""In the system for one stream: masks that wait there are late."""


class BoundedProtocol(H11Protocol):
    """The HTTP of uvicorn, with bounds for what it leaves open.

    Subclasses say how many connections there may be.
    """

    limit = 1000

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._awaited: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._paced: asyncio.TimerHandle | None = None
        self._received_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins, or ends at once where there are enough."""
        super().connection_made(transport)
        if len(self.connections) > self.limit:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Goes on; a head that is not whole has its time, and a body its pace."""
        self._received_bytes += len(data)
        super().data_received(data)
        if self.transport.get_protocol() is not self:
            self._forget()  # it is a WebSocket now
        elif self.transport.is_closing() or self._answers():
            self._head_is_here()
        else:
            self._await_head()
        if self._paced is None and self._receives():
            self._look_again()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's words)
        """Ends what is no HTTP, with a problem where there is still an answer to give."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            # What h11 stumbled over says whether it was only too long.
            too_large = getattr(sys.exception(), "error_status_hint", None) == problems.HEAD_TOO_LARGE.status
            kind = problems.HEAD_TOO_LARGE if too_large else problems.KINDS[RequestMalformed]
            body = problems.of_no_request(kind)
            headers = {"Content-Type": problems.MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close"}
            reason = STATUS_PHRASES[kind.status]
            answer = h11.Response(status_code=kind.status, headers=list(headers.items()), reason=reason)
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        """The connection is full: its client reads, or is cut off."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _answers(self) -> bool:
        """Whether a request is here whose answer is not complete."""
        return getattr(self.cycle, "response_complete", True) is False  # there is no cycle before the first request

    def _receives(self) -> bool:
        """Whether the body of that request is not here as a whole."""
        return not self.transport.is_closing() and self._answers() and self.cycle.more_body

    def _look_again(self) -> None:
        self._paced = self.loop.call_later(PACE_S, self._check_pace, self._received_bytes)

    def _check_pace(self, before_bytes: int) -> None:
        self._paced = None
        if not self._receives():
            return
        # A client that is held up by us is not slow.
        if self.flow.read_paused or self._received_bytes - before_bytes >= PACE_S * PACE_BYTES_PER_S:
            self._look_again()
        else:
            self.transport.abort()

    def _await_head(self) -> None:
        if self._awaited is None:
            self._awaited = self.loop.call_later(HEAD_S, self.transport.abort)

    def _head_is_here(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()
            self._awaited = None

    def _forget(self) -> None:
        self._head_is_here()
        for timer in (self._unread, self._paced):
            if timer is not None:
                timer.cancel()
        self._unread = self._paced = None


def bounded(limit: int) -> type[H11Protocol]:
    """The protocol for so many connections."""
    return type("LimitedProtocol", (BoundedProtocol,), {"limit": limit})


class StreamProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, for clients that do not read: they are told so behind what waits, and then cut off."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        super().connection_made(transport)
        connection: socket.socket = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Goes on, or ends what opens no stream, as with a body or a longer head than a handshake has."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:  # uvicorn would leave it open
            self.handshake_initiated = self.handshake_complete = self.close_sent = True
            kind = problems.KINDS[RequestMalformed]
            body = problems.of_no_request(kind)
            head = (
                f"HTTP/1.1 {kind.status} {STATUS_PHRASES[kind.status].decode()}",
                f"Content-Type: {problems.MEDIA_TYPE}",
                f"Content-Length: {len(body)}",
                "Connection: close",
            )
            self.transport.write("\r\n".join((*head, "", "")).encode() + body)
            self.transport.close()

    def handle_parser_exception(self) -> None:
        """Ends what sends no WebSocket message, or too large a one.

        The connection is cut a moment later: while more comes in, the client's system would throw the word away.
        """
        if self.close_timer is None and (told := self.conn.close_sent):
            self.queue.put_nowait({"type": "websocket.disconnect", "code": told.code, "reason": told.reason})
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.close_timer = self.loop.call_later(DISCARD_S, self.transport.close)

    async def send(self, message: Any) -> None:
        """Sends a message, once there is room for it; that of the end has room always."""
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # refused: else uvicorn takes it for forgotten

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """Ends, at the latest after LINGER_S."""
        super().on_task_complete(task)
        self.loop.call_later(LINGER_S, self.transport.abort)
