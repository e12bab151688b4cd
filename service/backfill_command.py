"""The years before: into the PACS by the service's queue, or into one table by a cluster with Ray Data."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from efsnet.errors import EFSNetError
from model_store.errors import ModelStoreError
from service.archive.asked import MANIFEST, Asked
from service.errors import ServiceError, SpacingInvalid
from service.pacs_commands import queue_studies
from service.segmentation import parse_spacing
from service.settings import read_settings

if TYPE_CHECKING:
    from service.archive.work import Done

SCREEN = Console(stderr=True)


def backfill(
    *,
    archive: Annotated[
        str | None,
        typer.Argument(help="With --engine ray: a folder, or s3://…, in place of --query.", show_default=False),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(help="Which studies, as QIDO-RS asks: StudyDate=20150101-20191231.", show_default=False),
    ] = None,
    engine: Annotated[
        Literal["jobs", "ray"],
        typer.Option(help="jobs: the service answers into the PACS. ray: a cluster makes a table of all images."),
    ] = "jobs",
    reanalyse: Annotated[
        bool, typer.Option("--reanalyse", help="Also what has results of another version: they are added to those.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Show progress until all is answered; Ctrl+C stops only that.")
    ] = True,
    out: Annotated[
        str | None, typer.Option(help="With ray: folder of the run, shared by all machines, or s3://….")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="With ray: number, alias or digest.", show_default="production, or the run's")
    ] = None,
    pixel_spacing_mm: Annotated[
        str | None, typer.Option(metavar="ROW,COLUMN", help="With ray: of all images, in place of what they say.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="With ray: a DICOM attribute to copy into the table, such as StudyDate.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="With ray: address of a cluster.", show_default="this machine alone")
    ] = None,
) -> None:
    """Goes through the years before, behind all live work: into the PACS, or with Ray Data into a table.

    To give the same command again, or after it was stopped, is harmless: what is done stays so.
    """
    only_ray = {
        "ARCHIVE": archive,
        "--out": out,
        "--version": version,
        "--pixel-spacing-mm": pixel_spacing_mm,
        "--tag": tag,
        "--cluster": cluster,
    }
    if engine == "jobs":
        if strange := [name for name, given in only_ray.items() if given]:
            raise typer.BadParameter(f"{' and '.join(strange)}: only with --engine ray.")
        if query is None:
            raise typer.BadParameter("say which studies with --query.")
        queue_studies(query, reanalyse=reanalyse, follow=follow)
        return
    if out is None or (archive is None) == (query is None):
        raise typer.BadParameter("--engine ray takes --out, and a folder or --query.")
    if reanalyse or not follow:
        raise typer.BadParameter("--reanalyse and --no-follow: only with --engine jobs.")
    spacing = None
    if pixel_spacing_mm is not None:
        try:
            spacing = parse_spacing(pixel_spacing_mm)
        except SpacingInvalid as error:
            raise typer.BadParameter(f"--pixel-spacing-mm: {error}.") from error
    _tabulate(Asked(archive, query, out, version, spacing, tuple(tag or ()), cluster))


def _tabulate(asked: Asked) -> None:
    """Makes the table, or goes on with it; what goes wrong is told in a line."""
    try:
        from service.archive.backfill import opened  # noqa: PLC0415 (heavy, and not always installed)
    except ImportError as error:
        _end("Ray is not installed: scripts/setup ray.", error)
    try:
        with opened(asked, read_settings()) as backfill:
            left = backfill.plan()
            SCREEN.print(f"{left} images to do, by {backfill.run.model} {backfill.run.digest}", soft_wrap=True)
            counts = _shown(backfill.go(), left)
            rows = backfill.finish()
    except (ServiceError, ModelStoreError, EFSNetError, OSError) as error:
        _end(str(error), error)
    except KeyboardInterrupt as error:
        _end("Stopped. The same command goes on.", error)
    if left:
        SCREEN.print(
            ", ".join(f"{counts[status]} rows {status}" for status in ("segmented", "unusable", "unavailable"))
        )
    SCREEN.print(f"{asked.out}/{MANIFEST}: {rows} rows" if rows else "The archive is empty.", soft_wrap=True)


def _shown(steps: "Iterator[Done]", images: int) -> Counter[str]:
    """Does the steps with a bar, and returns what became of all together."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    counts: Counter[str] = Counter()
    with Progress(*columns, console=SCREEN) as progress:
        shown = progress.add_task("images", total=images)
        for done in steps:
            counts.update(asdict(done))
            progress.advance(shown, done.images)
    return counts


def _end(words: str, error: BaseException) -> NoReturn:
    SCREEN.print(words, style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(2) from error
