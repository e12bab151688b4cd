"""Tickets: what opens one stream, once, within seconds, in place of an API key in an address.

A browser can give a WebSocket no header, and addresses end up in histories and logs. So whoever holds a key asks for a
ticket first. It is signed with a secret that this process makes when it starts, and means nothing to another one.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import TicketInvalid

SIGNATURE_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says."""

    key_id: str
    """Of the API key that it was given for; empty where none is needed."""
    expires_at_s: float
    number: str
    """Which no other ticket has."""


class Tickets:
    """Makes tickets, and takes each once.

    Args:
        lifetime_s: Of a ticket.
        clock: In seconds, and never goes back.
    """

    def __init__(self, lifetime_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.lifetime_s = lifetime_s
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._used: dict[str, float] = {}

    def issue(self, key_id: str) -> str:
        """A ticket for whoever holds this key, for an address."""
        content = json.dumps([key_id, self._clock() + self.lifetime_s, secrets.token_hex(8)]).encode()
        return base64.urlsafe_b64encode(self._signature(content) + content).decode().rstrip("=")

    def redeem(self, text: str) -> Ticket:
        """What the ticket says, which counts no second time.

        Raises:
            TicketInvalid: It is none of ours, too old, or was used.
        """
        try:
            signed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            signed = b""
        signature, content = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(content)):
            raise TicketInvalid("This ticket is none of this service: ask for one with POST /v1/stream/ticket.")
        ticket = Ticket(*json.loads(content))
        now = self._clock()
        self._used = {number: until for number, until in self._used.items() if until > now}
        if ticket.expires_at_s <= now or ticket.number in self._used:
            raise TicketInvalid(
                f"A ticket opens one stream within {self.lifetime_s:g} s: POST /v1/stream/ticket gives a new one."
            )
        self._used[ticket.number] = ticket.expires_at_s
        return ticket

    def _signature(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, content, "sha256")
