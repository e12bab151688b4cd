"""Ray Data, as the engine of a run: it gives batches to machines, and gives them again when a machine is lost."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from service.archive.plan import Batch
from service.archive.work import Done, Work, kept
from service.errors import ArchiveUnusable

OBJECT_STORE_BYTES = 200_000_000
"""Memory that a cluster of this machine alone shares among its processes; nothing large goes through it."""

MOST_TASKS = 5000
"""Pieces into which Ray Data is given the batches: it keeps a record of each."""


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """A connection to a cluster, or a cluster of this machine alone for as long as the context lasts.

    Nothing is reported to Ray's makers, and a cluster of our own listens on the loopback address only.

    Args:
        address: Of the cluster's head, as `ray start` prints it; none for one of this machine.

    Raises:
        ArchiveUnusable: There is no cluster, or Ray is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    if address is None:
        # By this, which is its default on Windows and macOS, Ray takes 127.0.0.1 for the address of its node.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray  # noqa: PLC0415 (only now: it reads these when it is imported)

    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as scratch:
        own = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES, "_temp_dir": scratch}
        try:
            ray.init(address or "local", logging_level="ERROR", log_to_driver=False, **({} if address else own))
        except Exception as error:  # Ray's own derive from nothing in common
            raise ArchiveUnusable(f"The cluster cannot be started or reached: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()


def run(work: Work, batches: Sequence[Batch]) -> Iterator[Done]:
    """Does batches with all cores of the cluster, and yields what became of each as it is done.

    A lost machine's batches are done by others; nothing is waited for that is gone.

    Raises:
        ArchiveUnusable: A machine could not begin, or the outputs cannot be written.
    """
    import ray.data  # noqa: PLC0415 (as above)

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    items = [asdict(batch) for batch in batches]
    planned = ray.data.from_items(items, override_num_blocks=min(len(items), MOST_TASKS))
    # Tasks, not actors: an actor of a lost machine waits for another machine to be born on.
    done = planned.map(_do, fn_kwargs={"work": work}, num_cpus=1)
    try:
        for row in done.iter_rows():
            yield Done(**row)
    except ray.exceptions.RayError as error:
        raise ArchiveUnusable(f"The cluster gave up: {_reason(error)}") from error


def _do(item: dict[str, Any], work: Work) -> dict[str, int]:
    return asdict(kept(work).do(Batch(**item)))


def _reason(error: BaseException) -> str:
    """The last line: what was raised on the machine, without its way there."""
    return str(error).strip().splitlines()[-1]
