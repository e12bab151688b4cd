"""Commands for whoever connects a PACS: try the connection, and answer what it holds from the years before."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.audit.trail import Trail
from service.errors import ServiceError
from service.jobs.job import Order, Priority, Subject
from service.metrics import Metrics
from service.settings import read_settings

if TYPE_CHECKING:  # heavy to import, and `--help` needs none of it
    from service.jobs.queue import JobQueue
    from service.pacs.connection import Connection

LOOK_S = 2.0
"""Time between looks at how far the backfill is."""

SCREEN = Console(stderr=True)

pacs = typer.Typer(no_args_is_help=True, help="Tries the connection to the PACS.")


@pacs.command()
def test() -> None:
    """Searches, retrieves and stores a marked test object, and says which step fails and why."""
    with _connected() as connection:
        steps = connection.test()
    for step in steps:
        typer.echo(f"{step.name:<9} {step.state:<8} {step.duration_ms:7.0f} ms  {step.detail}")
    if any(step.state == "failed" for step in steps):
        raise typer.Exit(1)


@pacs.callback()
def _pacs() -> None:
    """Keeps `test` a command of its own, though it is the only one."""


def queue_studies(query: str, *, reanalyse: bool, follow: bool) -> None:
    """Queues the studies that a search finds, behind all live work. The service answers them; it must run."""
    # Imported here: heavy, and other commands need none of it.
    from service.pacs.sweep import studies  # noqa: PLC0415

    with _connected() as connection:
        found = 0
        for study in studies(connection.client, dict(parse_qsl(query))):
            connection.order(Order(Subject(study), Priority.BACKFILL, explicit=True, reanalyse=reanalyse))
            found += 1
        SCREEN.print(f"{found} studies are queued.")
        if follow and found:
            _show(connection.queue)


def _show(queue: "JobQueue") -> None:
    """How far all jobs of the backfill are, and an estimate of when the rest is done, until none is left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=SCREEN) as progress:
        shown = progress.add_task("answered")
        while True:
            counts = queue.counts(Priority.BACKFILL)
            left = counts.get("queued", 0) + counts.get("running", 0)
            total, failed = sum(counts.values()), counts.get("failed", 0)
            words = f"answered ({failed} failed: GET /v1/jobs?state=failed)" if failed else "answered"
            progress.update(shown, completed=total - left, total=total, description=words)
            if not left:
                return
            time.sleep(LOOK_S)


@contextmanager
def _connected() -> "Iterator[Connection]":
    """The PACS of the settings; what goes wrong is told in a line."""
    from service.pacs.connection import Connection  # noqa: PLC0415

    try:
        connection = Connection(read_settings(), Metrics(""), Trail(None))
        try:
            yield connection
        finally:
            connection.stop()
    except ServiceError as error:
        SCREEN.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        SCREEN.print("The service goes on by itself; the same command shows how far it is.")
