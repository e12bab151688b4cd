"""Threads behind a bounded queue."""

from collections.abc import Iterator
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from service.errors import QueueFull
from service.workers import WorkerPool, available_cores


@pytest.fixture
def gate() -> Event:
    """Work that waits for it goes on when it is set."""
    return Event()


@pytest.fixture
def pool(gate: Event) -> Iterator[WorkerPool]:
    """Two workers and room for three more pieces of work."""
    pool = WorkerPool("test", workers=2, capacity=3)
    yield pool
    gate.set()
    pool.close()


def occupy(pool: WorkerPool, gate: Event) -> None:
    """Gives every worker work that waits for the gate, and returns once all are at it."""

    def work(started: Event, _: int) -> None:
        started.set()
        gate.wait()

    for started in [Event() for _ in range(pool.workers)]:
        pool.submit(partial(work, started))
        started.wait()


def nothing(_: int) -> None:
    """The least work."""


def test_work_is_done_in_the_order_of_arrival(gate: Event) -> None:
    """Nobody overtakes in the queue."""
    pool = WorkerPool("test", workers=1, capacity=9)
    occupy(pool, gate)
    done: list[int] = []
    futures = [pool.submit(lambda _, number=number: done.append(number)) for number in range(9)]  # type: ignore[misc]
    gate.set()
    wait(futures)
    pool.close()

    assert list(range(9)) == done


def test_each_worker_has_an_index_of_its_own(pool: WorkerPool, gate: Event) -> None:
    """Two workers at the same time are given the indices 0 and 1."""
    indices: list[int] = []
    both = Event()

    def work(index: int) -> None:
        indices.append(index)
        if len(indices) == 2:
            both.set()
        both.wait()

    futures = [pool.submit(work) for _ in range(2)]
    for future in futures:
        future.result()

    assert [0, 1] == sorted(indices)


@pytest.mark.requirement("OPS-2")
def test_a_full_queue_refuses_more(pool: WorkerPool, gate: Event) -> None:
    """Work beyond the workers and the places in the queue is refused at once."""
    occupy(pool, gate)
    for _ in range(pool.capacity):
        pool.submit(nothing)

    assert 3 == pool.waiting
    with pytest.raises(QueueFull, match=r"full \(3\)"):
        pool.submit(nothing)


def test_no_place_in_the_queue_is_needed_while_a_worker_is_idle() -> None:
    """A pool without a queue still takes as much work as it has workers."""
    pool = WorkerPool("test", workers=1, capacity=0)

    assert 7 == pool.submit(lambda _: 7).result()
    pool.close()


@pytest.mark.requirement("OPS-3")
def test_cancelled_work_frees_its_place_at_once(pool: WorkerPool, gate: Event) -> None:
    """Work that is cancelled while it waits is never done, and another can take its place."""
    occupy(pool, gate)
    done = Event()
    dropped = [pool.submit(lambda _: done.set()) for _ in range(pool.capacity)]
    for future in dropped:
        future.cancel()
    next_one = pool.submit(lambda _: done.is_set())
    gate.set()

    assert next_one.result() is False


def test_an_error_is_raised_where_the_work_is_waited_for(pool: WorkerPool) -> None:
    """A worker survives what goes wrong in its work."""

    def fail(_: int) -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        pool.submit(fail).result()
    assert 1 == pool.submit(lambda _: 1).result()


def test_closing_finishes_what_runs_and_drops_what_waits(pool: WorkerPool, gate: Event) -> None:
    """After a close, no thread is left and nothing is taken any more."""
    occupy(pool, gate)
    waiting = pool.submit(nothing)
    gate.set()
    pool.close()

    assert waiting.done()
    assert not any(thread.is_alive() for thread in pool._threads)
    with pytest.raises(QueueFull):
        pool.submit(nothing)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("99900000 100000", None)],
)
def test_cores_are_those_the_container_may_use(tmp_path: Path, quota: str, cores: int | None) -> None:
    """A CPU quota limits the cores, and never raises them above those of the machine."""
    (tmp_path / "cpu.max").write_text(f"{quota}\n", encoding="ascii")

    assert (cores or available_cores(tmp_path / "missing")) == available_cores(tmp_path)


def test_urgent_work_goes_first(gate: Event) -> None:
    """In the order of its arrival, into a full queue too; what waits for it is done after it."""
    pool = WorkerPool("test", workers=1, capacity=2)
    occupy(pool, gate)
    done: list[str] = []
    futures = [pool.submit(lambda _, name=name: done.append(name)) for name in ("a", "b")]  # type: ignore[misc]
    with pytest.raises(QueueFull):
        pool.submit(nothing)
    futures += [pool.submit(lambda _, name=name: done.append(name), urgent=True) for name in "xy"]  # type: ignore[misc]
    assert 4 == pool.waiting
    gate.set()
    wait(futures)
    pool.close()

    assert ["x", "y", "a", "b"] == done


def test_urgent_work_is_cancelled_and_dropped_like_other(pool: WorkerPool, gate: Event) -> None:
    """What nobody waits for is taken out at once; a closed pool takes none."""
    occupy(pool, gate)
    cancelled, dropped = (pool.submit(nothing, urgent=True) for _ in range(2))
    cancelled.cancel()
    assert 1 == pool.waiting

    gate.set()
    pool.close()
    with pytest.raises(QueueFull):
        pool.submit(nothing, urgent=True)
    assert dropped.done()
