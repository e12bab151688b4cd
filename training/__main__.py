"""`python -m training`: inspect a data set, train on it, evaluate, publish."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from training.errors import TrainingError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Data = Annotated[Path, typer.Argument(help="Folder of BUSI as published, Dataset_BUSI_with_GT, or the one above it.")]


@app.callback()
def _commands() -> None:
    """Makes versions."""


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    config: Annotated[str, typer.Option(help="A shipped recipe, default or thesis, or a TOML file.")] = "default",
    fold: Annotated[int, typer.Option(min=0, max=4, help="The fold that is held out.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    accelerator: Annotated[Literal["auto", "cpu", "gpu"], typer.Option()] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="GPUs, or processes that share the cores.")] = 1,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="Compile the network first.")] = True,
) -> None:
    """Train a network, with a state to resume from at each epoch."""
    from training.configuration import read_configuration
    from training.datasets.busi import read_busi
    from training.datasets.folds import split
    from training.errors import RunUnusable
    from training.run import Machine, RunFolder, describe
    from training.run import train as run

    folder = RunFolder(out)
    first_process = "LOCAL_RANK" not in os.environ
    if first_process and folder.configuration_file.exists() and not resume:
        raise RunUnusable(f"{out} holds a run already: go on with --resume, or name another folder.")
    configuration = folder.configuration() if resume else read_configuration(config)
    parts = split(read_busi(data), fold)
    if first_process and not resume:
        describe(folder, configuration, parts, None)
    run(folder, configuration, parts, Machine(accelerator, devices, compiled), None)


def main() -> None:
    """Runs the command; an error that the user can mend is a message, not a traceback."""
    try:
        app()
    except TrainingError as error:
        typer.secho(str(error), err=True, fg="red")
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
