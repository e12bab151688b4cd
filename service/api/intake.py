"""What comes before the work, whichever way an image is sent: refusals, the upload, and the version that answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from model_store.loading import LoadedVersion
from service import errors
from service.api.uploads import Uploads
from service.segmentation import Segmenter
from service.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """The version that a request names."""

    model: str | None
    """None: the service's default model."""
    version: str | None
    """A number, an alias or a digest; None: `production`."""


class Intake:
    """The way in for requests that bring images; they share the room for uploads, however they are sent."""

    def __init__(self, segmenter: Segmenter, settings: Settings) -> None:
        self.segmenter = segmenter
        self.uploads = Uploads(settings)

    @asynccontextmanager
    async def taken(
        self, request: Request, asked: Asked, receive: Callable[[Request], Awaitable[bytes]]
    ) -> AsyncIterator[tuple[bytes, LoadedVersion]]:
        """What was uploaded, and the version that is to answer; the upload has its room as long as the context lasts.

        Metrics, log and audit trail are told the version.

        Args:
            request: Whose body has not been read.
            asked: What it names.
            receive: Reads the body.

        Raises:
            QueueFull: There is no room for its work, or for its upload.
            UploadError: Its body cannot be used.
            ServiceError, ModelStoreError: There is no such version, or it cannot answer; see `Versions.get`.
        """
        versions, state = self.segmenter.versions, request.state
        # What can be refused without the body is, so that nobody uploads it in vain.
        self.segmenter.pool.refuse_if_full()
        expected = await versions.expect(asked.model, asked.version)
        state.model, state.version = expected.name, expected.number
        async with self.uploads.room(request):
            data = await receive(request)
            loaded = await versions.get(asked.model, asked.version)
            state.version = loaded.version.number  # another one, if it was promoted meanwhile
            digest = str(loaded.version.digest)
            state.audit = {"model": expected.name, "version": loaded.version.number, "digest": digest}
            yield data, loaded


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; the work is cancelled when the client leaves before.

    Raises:
        ClientGone: The client left.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise errors.ClientGone("The client left before its answer was ready.")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
