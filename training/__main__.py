"""`python -m training`: inspect a data set, train on it, evaluate the run, publish it as a version."""

import json
import logging
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from efsnet.errors import EFSNetError
from model_store.errors import ModelStoreError
from training.datasets.splits import SplitKind
from training.errors import DatasetInvalid, RunUnusable, TrainingError

if TYPE_CHECKING:
    from training.evaluation.sample import Figure

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Data = Annotated[list[Path], typer.Argument(help="Folder of a data set as published; several are mixed.")]
Run = Annotated[Path, typer.Argument(help="Folder of a finished run.")]
Store = Annotated[Path, typer.Option(envvar="EFSNET_STORE", help="Folder of the model store.")]
OneSet = Annotated[str | None, typer.Option(help="Only this data set's images, as BUSI, where several were measured.")]


@app.command()
def inspect(
    data: Data,
    sheet: Annotated[Path, typer.Option(help="Where the contact sheet is written.")] = Path("contact_sheet.png"),
) -> None:
    """Print what is in each data set, and in all, and draw a sheet of all images with the masks outlined."""
    from training.datasets.reading import read
    from training.inspection import contact_sheet, show
    from training.inspection import inspect as look
    from training.specification import CLASSES

    if not sheet.absolute().parent.is_dir():
        raise DatasetInvalid(sheet, [f"{sheet.absolute().parent}: no such folder, for the contact sheet."])
    records = read(data)
    console = Console()
    names = dict.fromkeys(record.dataset for record in records)
    for name in names:
        show(look([record for record in records if record.dataset == name]), console, name)
    if len(names) > 1:
        show(look(records), console, "All sets")
    contact_sheet(records, CLASSES, sheet)
    console.print(f"All images with their masks: {sheet}")


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    config: Annotated[
        str | None,
        typer.Option(help="A shipped recipe or a TOML file.", show_default="default, or that of the run to go on with"),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            min=0, max=4, help="The fold that is held out.", show_default="0, or that of the run to go on with"
        ),
    ] = None,
    split: Annotated[
        SplitKind | None,
        typer.Option(
            help="groups: no patient or scene is on both sides. all: nothing is held out. "
            "images, thesis: only to compare with figures from such splits.",
            show_default="groups, or that of the run to go on with",
        ),
    ] = None,
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
    from training.datasets.splits import split_by
    from training.evaluation.subjects import evaluate_run
    from training.evaluation.unseen import check_start, check_teacher, learnt_by
    from training.processes import Launch, is_first
    from training.provenance import Start, describe
    from training.publishing import network_from_version
    from training.run import Beginning, Machine, check_accelerator
    from training.run import train as run
    from training.run_folder import RunFolder

    _quiet_the_libraries()
    if start and not store:
        raise RunUnusable("--from names a version of a model store: say which with --store.")
    folder = RunFolder(out)
    first_process = is_first()
    launch = Launch.read()
    begun = first_process and folder.configuration_file.exists()
    # Where torchrun starts the command once more it says nothing of it that all processes could rely on.
    resume = resume or bool(begun and launch and launch.restarts)
    if begun and not resume:
        raise RunUnusable(f"{out} holds a run already: go on with --resume, or name another folder.")
    check_accelerator(accelerator)
    configuration = folder.resumed(config, seed) if resume else read_configuration(config or "default", seed=seed)
    records = read(data)
    configuration.check_sets({record.dataset for record in records})
    parts = folder.resumed_split(records, split, fold) if resume else split_by(split or "groups", records, fold or 0)
    version = ModelStore(store).version(configuration.network, start) if start and store else None
    if resume:
        folder.check_beginning(str(version.digest) if version else None)
    if version:
        check_start(version, parts)
    taught_by = RunFolder(teacher).as_teacher(records) if teacher else None
    if taught_by:
        taught_by.check(parts)
        check_teacher(RunFolder(taught_by.path), parts)
    with folder.alone() if first_process else nullcontext():
        if first_process and not resume:
            started = Start(str(version.digest), learnt_by(version)) if version else None
            describe(folder, configuration, parts, start=started, taught_by=teacher)
            for record in parts.left_out:
                typer.echo(f"Left out, contradictory: {record.name}")
        run(
            folder,
            configuration,
            parts,
            Machine(accelerator, devices, compiled),
            Beginning(network_from_version(version, configuration.network) if version else None, taught_by),
        )
    if first_process and parts.test:
        _show(evaluate_run(folder, parts))
    elif first_process:
        typer.echo("Nothing was held out: publish with --figures-of a cross-validation by the same recipe.")


@app.command("cross-validate")
def cross_validate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the runs, fold-0 to fold-4.")],
    config: Annotated[str, typer.Option(help="A shipped recipe, or a TOML file.")] = "default",
    folds: Annotated[str, typer.Option(help="The folds that are held out, one run each.")] = "0,1,2,3,4",
    split: Annotated[
        Literal["groups", "images"], typer.Option(help="As of train; the others have no folds.")
    ] = "groups",
    teacher: Annotated[
        Path | None, typer.Option(help="Cross-validation whose run of the same fold teaches, for a recipe that asks.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's own.")] = None,
    accelerator: Annotated[Literal["auto", "cpu", "gpu"], typer.Option()] = "auto",
    side_by_side: Annotated[int, typer.Option(min=1, help="Runs at a time, on one GPU or sharing the cores.")] = 1,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="Compile the network first.")] = True,
) -> None:
    """Train once for each fold, each time without it, and measure every scene once. Run again to go on."""
    from training.configuration import read_configuration
    from training.cross_validation import CrossValidation, check_recipe, check_split, fold_numbers, report
    from training.datasets.reading import read
    from training.run import check_accelerator

    check_accelerator(accelerator)
    numbers, configuration, records = fold_numbers(folds), read_configuration(config, seed=seed), read(data)
    configuration.check_sets({record.dataset for record in records})
    check_recipe(out, configuration)
    check_split(out, records, split)
    arguments = [*map(str, data), "--config", config, "--split", split, "--accelerator", accelerator]
    arguments += ["--compile" if compiled else "--no-compile", *(["--seed", str(seed)] if seed is not None else [])]
    CrossValidation(out, numbers, tuple(arguments), teacher, side_by_side).run()
    _show(report(out, records))
    typer.echo(f"With pictures: {out / 'report.html'}")


@app.command()
def evaluate(
    subject: Annotated[str, typer.Argument(help="A finished run's folder, or a version: 3, an alias, sha256:….")],
    data: Data,
    out: Annotated[Path | None, typer.Option(help="Folder of the report; a run's own by default.")] = None,
    part: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Of the sets that a run was split over.")
    ] = "test",
    without: Annotated[
        Literal["area", "holes", "vote"] | None,
        typer.Option(help="Leave out a rule of a run's post-processing, to see what it is worth."),
    ] = None,
    store: Annotated[Path | None, typer.Option(envvar="EFSNET_STORE", help="Model store of the version.")] = None,
    model: Annotated[str, typer.Option(help="Name of the version's model.")] = "efsnet",
) -> None:
    """Measure a run or a version on images of DATA that it never saw, and write report.html and metrics.json."""
    from model_store.store import ModelStore
    from training.datasets.reading import read
    from training.evaluation.subjects import evaluate_again, evaluate_elsewhere, evaluate_version
    from training.run_folder import RunFolder

    folder = RunFolder(Path(subject))
    if folder.path.is_dir():
        folder.network()  # refuses what is not finished before all data is read
        if out is None and (part != "test" or without):
            raise RunUnusable("A run's own folder holds its test part: say with --out where other figures shall be.")
        records = read(data)
        figures = (
            evaluate_elsewhere(folder, records, part, out, without=(without,) if without else ())
            if out
            else evaluate_again(folder, records)
        )
    elif store is None:
        raise RunUnusable(f"{subject} is no training run. For a version of a model store say which with --store.")
    elif out is None:
        raise RunUnusable("Say with --out where the report shall be: a version is never changed.")
    else:
        figures = evaluate_version(ModelStore(store).version(model, subject), read(data), out)
    _show(figures)
    where = out or folder.path
    for note in json.loads((where / "metrics.json").read_text(encoding="utf-8"))["notes"]:
        typer.secho(note, fg="yellow")
    typer.echo(f"Definitions, parts, charts and pictures: {where / 'report.html'}")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of an evaluation, an evaluated run or a cross-validation.")],
    second: Annotated[Path, typer.Argument(help="Another one on the same images.")],
    dataset: OneSet = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print how the SECOND differs from the FIRST on the images that both have, pair by pair."""
    from training.evaluation.comparison import compare as compare_cases
    from training.evaluation.comparison import read_cases

    comparison = compare_cases(read_cases(first, dataset), read_cases(second, dataset))
    names = (first.resolve().name, second.resolve().name)
    typer.echo(comparison.as_json() if as_json else comparison.as_text(*names))


@app.command("ladder")
def print_ladder(
    folders: Annotated[list[Path], typer.Argument(help="Cross-validations or evaluations, in the order of the rows.")],
    base: Annotated[Path | None, typer.Option(help="Compare every row with this one, not with the row above.")] = None,
    dataset: OneSet = None,
) -> None:
    """Print several evaluations as one Markdown table, each with its paired difference in Dice."""
    from training.evaluation.comparison import ladder

    typer.echo(ladder(folders, base, dataset), nl=False)


@app.command()
def precision(
    run: Run,
    data: Data,
    figures_of: Annotated[
        Path | None, typer.Option(help="Cross-validation by the same recipe, for a run with nothing held out.")
    ] = None,
) -> None:
    """Measure what computing in fewer bits changes in the masks of an evaluated run; `publish` takes it up."""
    from training.datasets.reading import read
    from training.precision import compare_precisions
    from training.run_folder import RunFolder

    table = Table()
    for heading in ("precision", "change of lesion Dice", "95 % interval", "pixels that differ", "images"):
        table.add_column(heading, justify="left" if heading == "precision" else "right")
    for change in compare_precisions(RunFolder(run), read(data), figures_of):
        value, low, high = change.dice
        table.add_row(
            change.precision,
            f"{value:+.4f}",
            f"{low:+.4f} to {high:+.4f}",
            f"{change.differing_pixels:.3%}",
            str(change.images),
        )
    Console().print(table)


@app.command()
def baseline(
    run: Run,
    data: Data,
    figures_of: Annotated[
        Path | None, typer.Option(help="Cross-validation by the same recipe, for a run with nothing held out.")
    ] = None,
) -> None:
    """Measure how images and answers lie where a run was measured; `publish` takes it up, and drift is told by it."""
    from training.baseline import measure_baseline
    from training.datasets.reading import read
    from training.run_folder import RunFolder

    measured = measure_baseline(RunFolder(run), read(data), figures_of)
    typer.echo(f"Baseline of {measured.images} images: {RunFolder(run).baseline_file}")


@app.command()
def publish(
    run: Run,
    store: Store,
    model: Annotated[str, typer.Option(help="Name of the model.")] = "efsnet",
    figures_of: Annotated[
        Path | None, typer.Option(help="Cross-validation by the same recipe, for a run with nothing held out.")
    ] = None,
) -> None:
    """Export a finished, evaluated run and publish it as the next version; promoting it is a step of its own."""
    from model_store.store import ModelStore
    from training.publishing import publish as publish_run

    _quiet_the_libraries()
    version = publish_run(run, ModelStore(store), name=model, figures_of=figures_of)
    typer.echo(f"Published {model} {version.number}, {version.digest}.")
    typer.echo(f"To serve it: python -m model_store promote {version.number} --store {store} --by NAME --why REASON")


@app.command("domain")
def fit_domain(
    data: Data,
    out: Annotated[Path, typer.Option(help="JSON file to write; efsnet/domain.json is the one that ships.")],
    foreign: Annotated[
        Path | None, typer.Option(help="Folder of folders with images of other kinds, to count who is caught.")
    ] = None,
) -> None:
    """Fit what tells images that are no breast ultrasounds from those of DATA, and count how often it is wrong."""
    from training.datasets.reading import read
    from training.domain import SCALES, beyond, fit

    fitted = fit(read(data))
    table = Table("images", *(f"warned of, {scale:.0%} of the size" for scale in SCALES), "images tested")
    for name, images in fitted.images.items():
        table.add_row(name, *(f"{share:.1%}" for share in fitted.warned[name]), str(images))
    for name, shares in fitted.warned_elsewhere.items():
        table.add_row(f"{name}, by a fit without it", *(f"{share:.1%}" for share in shares), "all")
    for folder in sorted(each for each in foreign.iterdir() if each.is_dir()) if foreign else ():
        caught, images = beyond(fitted.domain, folder)
        table.add_row(folder.name, f"{caught} of {images}", *("–" for _ in SCALES[1:]), str(images))
    Console().print(table)
    out.write_text(str(fitted.domain), encoding="utf-8")


@app.command("make-folds")
def make_folds(data: Data, out: Annotated[Path, typer.Option(help="CSV to write.")]) -> None:
    """Draw the five folds again, as they were drawn for this project; never over an existing file."""
    from training.datasets.folds import folds_as_csv
    from training.datasets.reading import read

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
    except OSError as error:
        typer.secho(f"{error.filename}: {error.strerror}.", err=True, fg="red")
        raise SystemExit(1) from error


def _show(figures: "Mapping[str, Figure]") -> None:
    from training.evaluation.figures import HEADLINE

    table = Table()
    for heading in ("figure", "value", "95 % interval", "images"):
        table.add_column(heading, no_wrap=heading != "figure", justify="left" if heading == "figure" else "right")
    for figure in (figures[name] for name in HEADLINE if figures[name].count):
        table.add_row(figure.label, figure.shown(), figure.interval(), str(figure.count))
    Console().print(table)


def _quiet_the_libraries() -> None:
    """Keeps advertising and notes to the libraries' own authors off the user's screen."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="`isinstance.treespec, LeafSpec.`")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")


if __name__ == "__main__":
    main()
