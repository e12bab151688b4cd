"""Check the audit trail."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.audit.chain import verify
from service.errors import AuditBroken

audit = typer.Typer(no_args_is_help=True, help=__doc__)


@audit.callback()
def _commands() -> None:
    """One command today; named all the same."""


@audit.command("verify")
def verify_files(
    files: Annotated[list[Path], typer.Argument(help="The files of one trail, the oldest first.", show_default=False)],
) -> None:
    """Tell whether a line was changed or taken out, and print where the chain ends.

    Keep that end elsewhere: a chain that was cut off at its end is whole, but shorter.
    """
    try:
        first, end = verify(_lines(files))
    except (AuditBroken, OSError) as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from error
    if not end.sequence:
        typer.secho("There is no line.", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)
    typer.echo(f"Lines {first} to {end.sequence} are as they were written. The last one's hash: {end.digest}")


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
