"""Tickets, by a clock of the test's own."""

import base64

import pytest

from service.errors import TicketInvalid
from service.live.tickets import Tickets


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """At 100 s."""
    return Clock()


def test_ticket_counts_once(clock: Clock) -> None:
    """It says whose key it was given for, and no second time."""
    tickets = Tickets(30, clock)
    text = tickets.issue("12345678")

    assert "12345678" == tickets.redeem(text).key_id
    with pytest.raises(TicketInvalid, match="opens one stream"):
        tickets.redeem(text)


def test_ticket_ends(clock: Clock) -> None:
    """After its lifetime it opens nothing."""
    tickets = Tickets(30, clock)
    text = tickets.issue("")
    clock.now_s += 30

    with pytest.raises(TicketInvalid, match="within 30 s"):
        tickets.redeem(text)


def test_used_tickets_are_forgotten_when_they_have_ended(clock: Clock) -> None:
    """What is remembered does not grow with the days."""
    tickets = Tickets(30, clock)
    for _ in range(5):
        tickets.redeem(tickets.issue(""))
        clock.now_s += 31

    assert 1 == len(tickets._used)


def test_forged_tickets_are_refused(clock: Clock) -> None:
    """One of another process, a changed one, and what is none."""
    tickets = Tickets(30, clock)
    text = tickets.issue("12345678")
    content = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    content[-3] ^= 1

    for forged in (Tickets(30, clock).issue(""), base64.urlsafe_b64encode(content).decode(), "", "é", "A" * 10_000):
        with pytest.raises(TicketInvalid, match="none of this service"):
            tickets.redeem(forged)
