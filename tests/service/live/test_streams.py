"""What streams share."""

import asyncio

import pytest

from service.live.streams import Allowance, until_one_ends


def test_allowance_is_of_the_mean_of_some_seconds() -> None:
    """A burst is let through, a flood is not, and a pause gives the burst back."""
    allowance = Allowance(10)

    assert 30 == sum(allowance.takes(0.0) for _ in range(100))
    assert not allowance.takes(1.0)
    assert allowance.takes(60.0)


def test_steady_frames_are_always_let_through() -> None:
    """As many a second as there may be, without end."""
    allowance = Allowance(30)

    assert all(allowance.takes(index / 30) for index in range(3000))


def test_first_end_ends_all() -> None:
    """What it raises is raised, and whatever else runs is cancelled before."""
    ended: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("waiting")

    with pytest.raises(ZeroDivisionError):
        asyncio.run(until_one_ends(wait(), fail()))
    assert ["waiting"] == ended
