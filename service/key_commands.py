"""Make, list and revoke API keys. A service that runs heeds it with the next request."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from service.audit.act import Act
from service.audit.trail import open_trail
from service.errors import ServiceError
from service.keys import KeyRing
from service.settings import read_settings

keys = typer.Typer(no_args_is_help=True, help=__doc__)

LONGEST_DAYS = 3650


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Who holds it, as the log and promotion records will say.")],
    scopes: Annotated[
        str,
        typer.Option(metavar="SCOPE,…", help="What it is for: infer, read, correct, publish, or admin, which is all."),
    ],
    days: Annotated[int, typer.Option(min=1, max=LONGEST_DAYS, help="For how long it is valid.")] = 365,
) -> None:
    """Make a key and print it, this once: nobody can read it again."""
    with _complaining(), _recording() as record:
        text, key = _ring().create(name, scopes.split(","), days)
        record(Act("key_made", details={"key": str(key), "scopes": " ".join(key.scopes)}))
    typer.echo(text)
    typer.echo(
        f"{key}, for {', '.join(key.scopes)}, until {key.expires_at:%Y-%m-%d}. Keep it: it is not shown again.",
        err=True,
    )


@keys.command("list")
def list_keys() -> None:
    """Show all keys that are not revoked."""
    with _complaining():
        found = _ring().keys
    table = Table(Column("Id", no_wrap=True), "Name", "For", "Made", "Until")
    for key in found:
        until = f"{key.expires_at:%Y-%m-%d}{' (expired)' if key.expires_at <= datetime.now(UTC) else ''}"
        table.add_row(key.id, key.name, ", ".join(key.scopes), f"{key.created_at:%Y-%m-%d}", until)
    Console().print(table)


@keys.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]) -> None:
    """End a key at once."""
    with _complaining(), _recording() as record:
        key = _ring().revoke(key_id)
        record(Act("key_revoked", details={"key": str(key)}))
        typer.echo(f"{key} is worth nothing from now on.")


def _ring() -> KeyRing:
    return KeyRing(read_settings().keys_file)


@contextmanager
def _recording() -> Iterator[Callable[[Act], None]]:
    """What records an act in the service's audit trail. Who sits at the machine, only the machine knows."""
    settings = read_settings()
    trail = open_trail(settings.audit, settings.audit_key_file)
    try:
        yield trail.record
    finally:
        trail.close()


@contextmanager
def _complaining() -> Iterator[None]:
    try:
        yield
    except ServiceError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from error
