"""Where acts are recorded, from any thread and from the event loop."""

import asyncio
import hashlib
import hmac
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from service import state
from service.audit.act import Act
from service.audit.file import AuditFile
from service.audit.syslog import Syslog
from service.audit_settings import AuditSettings
from service.errors import AuditUnavailable

_LOG = logging.getLogger("service.audit")

RETRY_S = 1.0
"""Between two tries while nothing can be written."""


class Sink(Protocol):
    """Where lines go."""

    def append(self, contents: Sequence[Mapping[str, Any]]) -> None:
        """Keeps lines for good.

        Raises:
            OSError: They are not kept.
        """

    def close(self) -> None:
        """Lets go of what is open."""


class Trail:
    """Records acts, one fsync for all that wait at the same time.

    Args:
        sink: Where lines go; None records nothing.
        key: Of the hashes of images: without it nobody can try which image a line is of.
        when_unwritable: `stop` raises AuditUnavailable; `continue` counts and goes on.
        on_failure: Called for each act that could not be recorded.
    """

    def __init__(
        self,
        sink: Sink | None,
        *,
        key: bytes = b"",
        when_unwritable: Literal["stop", "continue"] = "stop",
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._sink = sink
        self._key = key
        self._stops = when_unwritable == "stop"
        self._on_failure = on_failure
        self._lost = 0
        self._failed_at = 0.0
        self._waiting: queue.SimpleQueue[tuple[Act, str, Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="audit", daemon=True) if sink else None
        if self._thread:
            self._thread.start()

    @property
    def on(self) -> bool:
        """Whether acts are recorded at all."""
        return self._thread is not None

    @property
    def trouble(self) -> str | None:
        """Why the service should do nothing that is recorded, if so."""
        return "The audit trail cannot be written." if self._stops and self._lost else None

    def check(self) -> None:
        """Refuses an act before it is done, while nothing can be recorded; tries again now and then.

        Raises:
            AuditUnavailable: It should not be done.
        """
        if self.trouble and time.monotonic() - self._failed_at < RETRY_S:
            raise AuditUnavailable(self.trouble)

    def record(self, act: Act) -> None:
        """Records an act, and waits until it is kept.

        Raises:
            AuditUnavailable: It is not, and the operator wants the service to stop then.
        """
        if self.on:
            self._submit(act).result()

    async def recorded(self, act: Act) -> None:
        """The same, on the event loop."""
        if self.on:
            await asyncio.shield(asyncio.wrap_future(self._submit(act)))

    def close(self) -> None:
        """Writes what waits, and ends."""
        if self._thread:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        if self._sink:
            self._sink.close()

    def _submit(self, act: Act) -> Future[None]:
        future: Future[None] = Future()
        self._waiting.put((act, datetime.now(UTC).isoformat(timespec="microseconds"), future))
        return future

    def _write(self) -> None:
        ending = False
        while not ending:
            taken = [self._waiting.get()]
            while not self._waiting.empty():
                taken.append(self._waiting.get())
            ending = None in taken
            entries = [entry for entry in taken if entry is not None]
            if entries:
                self._write_together(entries)

    def _write_together(self, entries: Sequence[tuple[Act, str, Future[None]]]) -> None:
        contents = [self._content(act, moment) for act, moment, _ in entries]
        if self._lost:
            resumed = Act("audit_resumed", details={"lost": self._lost})
            contents.insert(0, self._content(resumed, contents[0]["time"]))
        failure: AuditUnavailable | None = None
        try:
            if self._sink:
                self._sink.append(contents)
            self._lost = 0
        except Exception as error:  # noqa: BLE001 (a thread that ended would record nothing ever after)
            self._failed_at = time.monotonic()
            self._lost += len(entries)
            for _ in entries:
                self._on_failure()
            _LOG.error(
                "audit_lines=%s error=%s", len(entries), getattr(error, "strerror", None) or type(error).__name__
            )
            if self._stops:
                failure = AuditUnavailable("What was asked for could not be recorded in the audit trail.")
        for _, _, future in entries:
            if failure:
                future.set_exception(failure)
            else:
                future.set_result(None)

    def _content(self, act: Act, moment: str) -> dict[str, Any]:
        told = {"who": act.who, "address": act.address, **act.details}
        if act.image is not None:
            told["image"] = f"hmac-sha256:{hmac.digest(self._key, act.image, hashlib.sha256).hex()}"
        known = {name: value for name, value in told.items() if value not in (None, "")}
        return {"time": moment.replace("+00:00", "Z"), "act": act.name, "outcome": act.outcome, **known}


def open_trail(settings: AuditSettings, key_file: Path, on_failure: Callable[[], None] = lambda: None) -> Trail:
    """The trail that the settings name.

    Raises:
        StateUnusable: The key of the hashes can be neither read nor made.
    """
    sink: Sink | None = Syslog(settings.syslog) if settings.syslog else None
    if settings.file:
        sink = AuditFile(settings.file, max_bytes=settings.max_mb * 1_000_000, kept=settings.files)
    if sink is None:
        return Trail(None)
    return Trail(sink, key=_key(key_file), when_unwritable=settings.when_unwritable, on_failure=on_failure)


def _key(path: Path) -> bytes:
    if (found := state.read(path)) is None:
        with state.writing(path):
            if (found := state.read(path)) is None:
                found = secrets.token_hex(32).encode()
                state.replace(path, found)
    return bytes.fromhex(found.decode())
