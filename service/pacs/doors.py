"""The doors by which the service learns of images: it looks again and again, and of several services one does."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from service.errors import JobsUnusable, ServiceError
from service.jobs.lease import Lease
from service.jobs.queue import LEASE_S

LONGEST_WAIT_S = 60.0
"""Between looks at a PACS that does not answer."""

LOOK_S = 0.5
"""Between two looks whether the lease is held."""

_LOG = logging.getLogger("service.pacs")


class Doors:
    """Threads that look, while this service holds the lease. Where they cannot, another service may try.

    Args:
        lease: Of those that share their jobs, who holds it looks for all.
        found: Called after each look.
        hold_s: Between two tries to take the lease, or to keep it.
    """

    def __init__(self, lease: Lease, found: Callable[[], None], *, hold_s: float = LEASE_S / 3) -> None:
        self._lease = lease
        self._found = found
        self._hold_s = hold_s
        self._held_until_s = 0.0  # by the clock of this process, which nobody sets
        self._troubles: dict[str, str] = {}
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def open(self, name: str, look: Callable[[], float]) -> None:
        """Has a thread look again and again; `look` returns the seconds until the next time."""
        self._threads.append(threading.Thread(target=self._watch, args=(name, look), name=f"door-{name}", daemon=True))

    def start(self) -> None:
        """Begins to look."""
        self._threads.append(threading.Thread(target=self._hold, name="door-lease", daemon=True))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Begins to look no more."""
        self._closing.set()

    def join(self) -> None:
        """Returns when nothing looks any more; another service may, at once."""
        for thread in self._threads:
            thread.join()

    def _hold(self) -> None:
        while True:
            since_s = time.monotonic()
            try:
                if self._is_held() and self._troubles.keys() - {"lease"}:
                    self._let_go()
                elif self._lease.hold():
                    self._held_until_s = since_s + LEASE_S
                self._tell("lease", "")
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may find it gone
                self._tell("lease", _why(error))
            if self._closing.wait(self._hold_s):
                break
        with contextlib.suppress(JobsUnusable):  # then it ends by itself
            self._let_go()

    def _let_go(self) -> None:
        if self._is_held():
            self._held_until_s = 0.0
            self._lease.release()

    def _is_held(self) -> bool:
        return time.monotonic() < self._held_until_s

    def _watch(self, name: str, look: Callable[[], float]) -> None:
        """Looks until closed; ever more rarely where the PACS does not answer."""
        failures, wait_s = 0, 0.0
        while not self._closing.wait(wait_s):
            if not self._is_held():
                wait_s = LOOK_S
                continue
            try:
                wait_s = look()
                failures = 0
                self._tell(name, "")
                self._found()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may find it gone
                wait_s = min(2.0**failures, LONGEST_WAIT_S)
                failures += 1
                self._tell(name, _why(error))

    def _tell(self, name: str, why: str) -> None:
        """Of a trouble that is new, or over."""
        if why and why != self._troubles.get(name):
            _LOG.error("door=%s why=%s", name, why)
        elif not why and name in self._troubles:
            _LOG.info("door=%s works again", name)
        if why:
            self._troubles[name] = why
        else:
            self._troubles.pop(name, None)


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, ServiceError) else type(error).__name__
