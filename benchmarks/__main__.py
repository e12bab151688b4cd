"""`python -m benchmarks NAME`: prints a Markdown table, ready for the documents."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.requests import Plan, measure

DATA = Path(__file__).parent.parent / "tests" / "data" / "Dataset_BUSI_with_GT"

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.callback()
def benchmarks() -> None:
    """Speed of the product on this machine; run them when it has nothing else to do."""


@app.command()
def requests(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which everything is measured in turn.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Requests of each kind in a round.")] = 40,
    store: Annotated[Path | None, typer.Option(help="Model store; a new one with the shipped version if none.")] = None,
) -> None:
    """CPU time, latency and memory of a request, beside the bare prediction."""
    typer.echo(measure(Plan(rounds=rounds, repeats=repeats, store=store)))


@app.command()
def stages(
    beside: Annotated[Path | None, typer.Option(help="Another checkout, such as the one before a change.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which the checkouts take turns.")] = 9,
    repeats: Annotated[int, typer.Option(min=1, help="Requests of each in a round.")] = 10,
) -> None:
    """CPU time of each stage of a request but the network and HTTP, also beside another checkout's."""
    from benchmarks import stages  # noqa: PLC0415 (as a script it runs in other checkouts)

    checkouts = {} if beside is None else {str(beside): beside}
    typer.echo(stages.measure({**checkouts, "this checkout": Path(__file__).parent.parent}, rounds, repeats))


@app.command()
def networks(
    side: Annotated[int, typer.Option(min=32, help="Rows and columns.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which all networks take turns.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Predictions of each in a round.")] = 10,
) -> None:
    """Parameters, operations and CPU time of EFSNet and of the networks it is compared with."""
    from benchmarks import networks  # noqa: PLC0415 (needs torch, which the benchmark of requests does not)

    typer.echo(networks.measure(side, rounds, repeats))


@app.command()
def inference(
    sides: Annotated[str, typer.Option(help="Rows and columns, with commas.")] = "256,512",
    threads: Annotated[str, typer.Option(help="Numbers of threads, with commas.")] = f"1,{os.cpu_count()}",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which all ways take turns.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Predictions of each in a round.")] = 10,
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON.")] = None,
) -> None:
    """One prediction by PyTorch, by ONNX Runtime as it comes, by the service's predictor, and by OpenVINO alone."""
    from benchmarks import inference  # noqa: PLC0415 (as above)

    plan = inference.Plan(
        sides=tuple(map(int, sides.split(","))),
        threads=tuple(map(int, threads.split(","))),
        rounds=rounds,
        repeats=repeats,
    )
    figures = inference.measure(plan)
    if out:
        out.write_text(figures + "\n", encoding="utf-8")
    typer.echo(inference.as_markdown(figures))


@app.command()
def engine(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which all settings take turns.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Predictions of each in a round.")] = 10,
) -> None:
    """What each setting of the inference engine is worth."""
    from benchmarks import engine  # noqa: PLC0415 (as above)

    typer.echo(engine.measure(rounds, repeats))


@app.command()
def rollback(
    rounds: Annotated[int, typer.Option(min=1, help="Promotions and rollbacks.")] = 20,
) -> None:
    """From the request for a rollback to the first mask by the version before, which is still in memory."""
    from benchmarks import rollback  # noqa: PLC0415 (as above)

    typer.echo(rollback.measure(rounds))


@app.command()
def pacs(
    images: Annotated[int, typer.Option(min=1, help="Images, one after the other.")] = 50,
) -> None:
    """From an image in an Orthanc to its SEG and SR, and what that costs those who store images."""
    from benchmarks import pacs  # noqa: PLC0415 (needs Debian's orthanc and orthanc-dicomweb)

    typer.echo(pacs.measure(images))


@app.command()
def page(
    rounds: Annotated[int, typer.Option(min=1, help="Images, each on a page of its own.")] = 20,
) -> None:
    """From an image that is dropped on the page to its mask on the screen."""
    from benchmarks import page  # noqa: PLC0415 (needs Playwright and Debian's chromium)

    typer.echo(page.measure(rounds))


@app.command()
def serving(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which all servers take turns.")] = 3,
    requests: Annotated[int, typer.Option(min=16, help="Requests for each number of connections in a round.")] = 120,
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON.")] = None,
) -> None:
    """The service beside the same model behind FastAPI, LitServe, BentoML and mosec."""
    from benchmarks import serving  # noqa: PLC0415 (its environments are made when it is asked for)

    figures = serving.measure(rounds, requests)
    if out:
        out.write_text(figures + "\n", encoding="utf-8")
    typer.echo(serving.as_markdown(figures))


@app.command()
def live(
    data: Annotated[Path, typer.Argument(help="Folder of BUSI in its published layout.")] = DATA,
    pairs: Annotated[int, typer.Option(min=1, help="Examinations, each from a benign and a malignant still.")] = 3,
    skip: Annotated[
        int, typer.Option(min=0, help="So many pairs before; with 22 of them the constants were chosen.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON.")] = None,
) -> None:
    """Flicker, Dice and delay of live masks, raw beside smoothed, on examinations made from stills."""
    from benchmarks import live  # noqa: PLC0415 (as above)

    figures = live.measure_shipped(data, pairs, skip)
    if out:
        out.write_text(figures + "\n", encoding="utf-8")
    typer.echo(live.as_markdown(figures))


@app.command()
def streams(
    seconds: Annotated[float, typer.Option(min=5, help="Of each run; 600 shows whether a delay grows.")] = 120,
    counts: Annotated[str, typer.Option(help="Numbers of streams at the same time, with commas.")] = "1,4",
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON.")] = None,
) -> None:
    """Live streams of 30 frames a second, and single uploads beside them."""
    from benchmarks import streams  # noqa: PLC0415 (as above)

    figures = streams.measure(seconds, [int(count) for count in counts.split(",")])
    if out:
        out.write_text(figures + "\n", encoding="utf-8")
    typer.echo(streams.as_markdown(figures))


@app.command()
def growth(
    on_end: Annotated[int, typer.Option(min=50, help="Requests on end, while the memory is watched.")] = 100_000,
    each: Annotated[int, typer.Option(min=10, help="Requests of every other measurement.")] = 200,
    out: Annotated[Path, typer.Option(help="Figures as JSON; the plots lie beside it, as SVG.")] = Path("growth.json"),
) -> None:
    """How the cost grows with the image, connections, cores, versions, and requests on end."""
    from benchmarks import growth  # noqa: PLC0415 (needs matplotlib)

    figures = growth.measure(on_end, each)
    out.write_text(figures + "\n", encoding="utf-8")
    growth.draw(figures, out.with_suffix(".svg"))
    typer.echo(f"{out}, {out.with_suffix('.svg')}")


@app.command()
def soak(
    seconds: Annotated[float, typer.Option(min=5, help="How long; an hour shows what grows slowly.")] = 3600,
    clients: Annotated[int, typer.Option(min=1, help="That ask at the same time.")] = 4,
    pause_s: Annotated[
        float, typer.Option(min=0, help="Between an answer and a client's next question; leaves room for other work.")
    ] = 0.0,
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON.")] = None,
) -> None:
    """Load of mixed sizes and formats; ends with status 1 where a mask was wrong, or memory or open files grew."""
    from benchmarks import soak  # noqa: PLC0415 (as above)

    result = soak.measure(seconds, clients, pause_s)
    if out:
        out.write_text(result.as_json() + "\n", encoding="utf-8")
    typer.echo(result.as_markdown())
    if not result.held:
        raise typer.Exit(1)


@app.command()
def overload(
    seconds: Annotated[
        float, typer.Option(min=5, help="How long four times as much is asked for as can be done.")
    ] = 300,
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON.")] = None,
) -> None:
    """What is refused and what is answered while four times the peak is asked for, whoever waits for an answer."""
    from benchmarks import overload  # noqa: PLC0415 (as above)

    figures = overload.measure(seconds)
    if out:
        out.write_text(figures + "\n", encoding="utf-8")
    typer.echo(overload.table(figures))


@app.command()
def archive(
    images: Annotated[Path, typer.Argument(help="Folder of PNG files, which are taken again and again.")] = DATA,
    count: Annotated[int, typer.Option(min=10, help="Files in the archive.")] = 2000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which both commands have their turn.")] = 3,
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON.")] = None,
) -> None:
    """An archive over the cores of this machine, with Ray Data beside the single-machine command."""
    from benchmarks import archive  # noqa: PLC0415 (as above)

    figures = archive.measure(images, count, rounds)
    if out:
        out.write_text(figures + "\n", encoding="utf-8")
    typer.echo(archive.table(figures))


@app.command()
def scale(
    images: Annotated[Path, typer.Argument(help="Folder of PNG files for the archive.")] = DATA,
    requests: Annotated[
        int, typer.Option(min=50, help="From which service times are taken, and in the real run.")
    ] = 500,
    count: Annotated[int, typer.Option(min=200, help="Images of the archive that is gone through.")] = 2000,
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON.")] = None,
) -> None:
    """A plan for a hospital, a region and a nation, by simulation; status 1 where a real run was otherwise."""
    from benchmarks import scale  # noqa: PLC0415 (needs simpy and the extra `ray`)

    figures = scale.measure(requests, images, count)
    if out:
        out.write_text(figures + "\n", encoding="utf-8")
    typer.echo(scale.tables(figures))
    if not all(check["held"] for check in json.loads(figures)["checks"]):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
