"""Connections that cost nothing: who sends slowly, reads slowly or only holds the line is cut off."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
"""Time in which the head of a request must have come, from its first byte or the connection's beginning on."""

READ_S = 30.0
"""Time in which a client must take what fills its connection."""


class BoundedProtocol(H11Protocol):
    """The HTTP of uvicorn, with bounds for what it leaves open; bodies have one already (`EFSNET_UPLOAD_TIMEOUT_S`).

    Subclasses say how many connections there may be.
    """

    limit = 1000

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._awaited: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

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
        """Goes on; a head that is not whole has its time."""
        super().data_received(data)
        if self.transport.get_protocol() is not self:
            self._forget()  # it is a WebSocket now
        elif self.transport.is_closing() or self._answers():
            self._head_is_here()
        else:
            self._await_head()

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

    def _await_head(self) -> None:
        if self._awaited is None:
            self._awaited = self.loop.call_later(HEAD_S, self.transport.abort)

    def _head_is_here(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()
            self._awaited = None

    def _forget(self) -> None:
        self._head_is_here()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def bounded(limit: int) -> type[H11Protocol]:
    """The protocol for so many connections."""
    return type("LimitedProtocol", (BoundedProtocol,), {"limit": limit})
