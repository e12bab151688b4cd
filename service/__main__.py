"""The command line: `python -m service serve`, `segment`, `keys`, `pacs` and `backfill`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from efsnet.errors import EFSNetError
from model_store.errors import ModelStoreError
from model_store.loading import load
from model_store.seeding import seed
from model_store.store import PRODUCTION, ModelStore
from service import logs
from service.app import create_app
from service.audit_commands import audit
from service.backfill_command import backfill
from service.errors import ServiceError, SpacingInvalid
from service.folders import Plan, segment_files
from service.history import History
from service.key_commands import keys
from service.keys import KeyRing
from service.pacs_commands import pacs
from service.segmentation import parse_spacing
from service.server import Server, require_keys
from service.settings import in_container, read_settings
from service.video import VideoPlan, is_video, segment_video
from service.workers import available_cores

SCREEN = Console(stderr=True)

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

app.add_typer(audit, name="audit")
app.add_typer(keys, name="keys")
app.add_typer(pacs, name="pacs")
app.command()(backfill)


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; else EFSNET_HOST, or this machine only.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; else EFSNET_PORT, or 8000.")] = None,
) -> None:
    """Starts the HTTP service; docs/settings.md lists its settings."""
    given: dict[str, Any] = {} if port is None else {"port": port}
    if host is not None:
        # Whoever names an address listens there, whatever a container's variable says of its port.
        given |= {"host": host, "bind": None}
    try:
        settings = read_settings(**given)
        require_keys(settings, KeyRing(settings.keys_file), contained=in_container())
        logs.configure()  # a command that serves nothing has no log
        server = Server(create_app(settings), settings)
    except (ServiceError, ModelStoreError) as error:
        _complain(error)
        raise typer.Exit(2) from error
    server.run()


@app.command()
def segment(
    *,
    files: Annotated[list[Path], typer.Argument(help="PNG, JPEG, BMP or TIFF images, or videos.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for masks/, overlays/ and areas.csv.", show_default=False)],
    version: Annotated[str, typer.Option(help="Number, alias or digest of the version.")] = PRODUCTION,
    pixel_spacing_mm: Annotated[
        str | None, typer.Option(metavar="ROW,COLUMN", help="Of all files; areas in mm² are given only with it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")] = False,
) -> None:
    """Segments files without a server: a mask and an overlay of each image, and one table of areas.

    Of each video: a video with the lesions drawn in, a table of its frames, and a plot of the areas over time.
    """
    try:
        settings = read_settings()
        spacing = None if pixel_spacing_mm is None else parse_spacing(pixel_spacing_mm)
        videos = [VideoPlan.of(file, out, overwrite=overwrite) for file in files if is_video(file)]
        images = [file for file in files if not is_video(file)]
        plan = Plan.of(images, out, overwrite=overwrite) if images else None
        seed(settings.store)
        history = History(ModelStore(settings.store), settings.promotions_folder)
        found = history.version(settings.model, version)
        loaded = load(found, replace(settings.computation, threads=available_cores()), trust=settings.read_trust())
        for video in videos:
            numbers = segment_video(video, loaded, max_pixels=settings.max_pixels)
            frames = max(track(numbers, str(found), total=None, console=SCREEN), default=0)
            SCREEN.print(f"{frames} frames of {video.video} segmented, results in {out}")
        if plan is None:
            return
        outcomes = segment_files(plan, loaded, spacing=spacing, max_pixels=settings.max_pixels)
        steps = track(outcomes, str(found), total=len(plan.places), console=SCREEN)
        unreadable = [outcome for outcome in steps if outcome]
    except SpacingInvalid as error:
        _complain(f"--pixel-spacing-mm: {error}.")
        raise typer.Exit(2) from error
    except (ServiceError, ModelStoreError, EFSNetError, OSError) as error:
        _complain(error)
        raise typer.Exit(2) from error
    for failed in unreadable:
        _complain(f"{failed.path}: {failed.reason}")
    SCREEN.print(f"{len(plan.places) - len(unreadable)} of {len(plan.places)} images segmented, results in {out}")
    if unreadable:
        raise typer.Exit(1)


def _complain(what: object) -> None:
    SCREEN.print(str(what), style="red", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    app()
