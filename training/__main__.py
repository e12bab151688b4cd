"""`python -m training`: inspect a data set, train on it, evaluate the run, publish it as a version."""

import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from efsnet.errors import EFSNetError
from model_store.errors import ModelStoreError
from training.errors import RunUnusable, TrainingError

if TYPE_CHECKING:
    from training.metrics import Figure

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Data = Annotated[list[Path], typer.Argument(help="Folder of a data set as published; several are mixed.")]
Run = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
Store = Annotated[Path, typer.Option(envvar="EFSNET_STORE", help="Folder of the model store.")]


@app.command()
def inspect(
    data: Data,
    sheet: Annotated[Path, typer.Option(help="Where the contact sheet is written.")] = Path("contact_sheet.png"),
) -> None:
    """Print what is in a data set, and draw a sheet of all its images with the masks outlined."""
    from training.datasets.reading import read
    from training.inspection import contact_sheet, show
    from training.inspection import inspect as look
    from training.specification import CLASSES

    records = read(data)
    console = Console()
    show(look(records), console)
    contact_sheet(records, CLASSES, sheet)
    console.print(f"All images with their masks: {sheet}")


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    config: Annotated[str, typer.Option(help="A shipped recipe, default or thesis, or a TOML file.")] = "default",
    fold: Annotated[int, typer.Option(min=0, max=4, help="The fold that is held out.")] = 0,
    start: Annotated[
        str | None, typer.Option("--from", help="Version whose weights to start from: 3, an alias, …")
    ] = None,
    store: Annotated[Path | None, typer.Option(envvar="EFSNET_STORE", help="Model store of that version.")] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Finished run of the same split, from which a recipe with distillation learns.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's own.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    accelerator: Annotated[Literal["auto", "cpu", "gpu"], typer.Option()] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="GPUs, or processes that share the cores.")] = 1,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="Compile the network first.")] = True,
) -> None:
    """Train a network, with a state to resume from at each epoch, and evaluate it on the held-out fold."""
    from model_store.store import ModelStore
    from training.configuration import read_configuration
    from training.datasets.reading import read
    from training.datasets.folds import split
    from training.evaluation import evaluate_run
    from training.publishing import network_from_version
    from training.run import Beginning, Machine, RunFolder, check_accelerator, describe
    from training.run import train as run

    _quiet_the_libraries()
    if start and not store:
        raise RunUnusable("--from names a version of a model store: say which with --store.")
    folder = RunFolder(out)
    first_process = "LOCAL_RANK" not in os.environ
    if first_process and folder.configuration_file.exists() and not resume:
        raise RunUnusable(f"{out} holds a run already: go on with --resume, or name another folder.")
    check_accelerator(accelerator)
    configuration = folder.configuration() if resume else read_configuration(config, seed=seed)
    records = read(data)
    configuration.check_sets({record.dataset for record in records})
    parts = folder.split(records) if resume else split(records, fold)
    version = ModelStore(store).version(configuration.network, start) if start and store else None
    taught_by = RunFolder(teacher).as_teacher(records) if teacher else None
    if taught_by:
        taught_by.check(parts)
    if first_process and not resume:
        describe(folder, configuration, parts, str(version.digest) if version else None)
        for record in parts.left_out:
            typer.echo(f"Left out, contradictory: {record.name}")
    run(
        folder,
        configuration,
        parts,
        Machine(accelerator, devices, compiled),
        Beginning(network_from_version(version, configuration.network) if version else None, taught_by),
    )
    if first_process:
        _show(evaluate_run(folder, parts))


@app.command()
def evaluate(run: Run, data: Data) -> None:
    """Measure a finished run again on the part of DATA that it never saw."""
    from training.datasets.reading import read
    from training.evaluation import evaluate_run
    from training.run import RunFolder

    folder = RunFolder(run)
    _show(evaluate_run(folder, folder.split(read(data))))


@app.command()
def publish(
    run: Run,
    store: Store,
    model: Annotated[str, typer.Option(help="Name of the model.")] = "efsnet",
) -> None:
    """Export a finished, evaluated run and publish it as the next version; promoting it is a step of its own."""
    from model_store.store import ModelStore
    from training.publishing import publish as publish_run

    _quiet_the_libraries()
    version = publish_run(run, ModelStore(store), name=model)
    typer.echo(f"Published {model} {version.number}, {version.digest}.")
    typer.echo(f"To serve it: python -m model_store promote {version.number} --store {store} --by NAME --why REASON")


@app.command("make-folds")
def make_folds(data: Data, out: Annotated[Path, typer.Option(help="CSV to write.")]) -> None:
    """Draw the five folds of BUSI again, as they were drawn for this project; never over an existing file."""
    from training.datasets.reading import read
    from training.datasets.folds import folds_as_csv

    text = folds_as_csv(read(data))
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise RunUnusable(f"{out} exists; folds are never redrawn.") from error


def main() -> None:
    """Runs the command; an error that the user can mend is a message, not a traceback."""
    try:
        app()
    except (TrainingError, ModelStoreError, EFSNetError) as error:
        typer.secho(str(error), err=True, fg="red")
        raise SystemExit(1) from error


def _show(figures: "Mapping[str, Figure]") -> None:
    table = Table(title="Held-out scenes, one image each; 95 % intervals")
    for heading in ("figure", "value", "interval", "images", "what it is"):
        table.add_column(heading, no_wrap=heading != "what it is")
    for name, figure in figures.items():
        interval = f"{figure.low:.3f} to {figure.high:.3f}"
        table.add_row(name, f"{figure.value:.3f}", interval, str(figure.count), figure.definition)
    Console().print(table)


def _quiet_the_libraries() -> None:
    """Keeps advertising and notes to the libraries' own authors off the user's screen."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="`isinstance.treespec, LeafSpec.`")


if __name__ == "__main__":
    main()
