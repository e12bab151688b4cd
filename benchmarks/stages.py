"""What each stage of a request takes of a core, without the network and without HTTP; of two checkouts in turn.

`python stages.py VERSION IMAGE` is the part that runs in a checkout: for each number on its standard input it goes
through the stages so often, and prints the CPU-ms of each as JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

STAGES = ("decode", "resize", "label map", "measure", "remarks", "run lengths")


def measure(checkouts: Mapping[str, Path], rounds: int, repeats: int) -> str:
    """The Markdown of the medians: in each round every checkout has its turn, so that all meet the same load.

    Args:
        checkouts: Folders with the packages of this product, by what they are called in the table.
        rounds: Turns of each.
        repeats: Requests of each turn.
    """
    # Not above: the part that runs in another checkout takes nothing from this one.
    from benchmarks.requests import example_png, processor  # noqa: PLC0415
    from model_store.seeding import seed  # noqa: PLC0415
    from model_store.store import ModelStore  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        store, image = Path(scratch) / "store", Path(scratch) / "image.png"
        seed(store)
        image.write_bytes(example_png())
        arguments = [str(ModelStore(store).version("efsnet", "production").path), str(image)]
        before = os.getloadavg()[0]
        running = {name: _started(folder, arguments) for name, folder in checkouts.items()}
        spent_ms: dict[str, list[list[float]]] = {name: [] for name in checkouts}
        for _ in range(rounds):
            for name, process in running.items():
                spent_ms[name] += _turn(process, repeats)
        for process in running.values():
            process.communicate()
    load = f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after"
    lines = [
        f"{processor()}, {os.cpu_count()} cores, {load}; {rounds} rounds of {repeats}, medians in CPU-ms.",
        "",
        f"| | {' | '.join(STAGES)} | all |",
        f"|---|{'---:|' * (len(STAGES) + 1)}",
    ]
    for name, rows in spent_ms.items():
        medians = [*np.median(rows, axis=0), np.median(np.sum(rows, axis=1))]
        lines.append(f"| {name} | {' | '.join(f'{each:.2f}' for each in medians)} |")
    return "\n".join(lines)


def _started(checkout: Path, arguments: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _turn(process: "subprocess.Popen[str]", repeats: int) -> list[list[float]]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("The process has no pipes.")
    process.stdin.write(f"{repeats}\n")
    process.stdin.flush()
    spent_ms: list[list[float]] = json.loads(process.stdout.readline())
    return spent_ms


def _answer(version: Path, image: Path) -> None:
    request = _request(version, image.read_bytes())
    request()  # what is made at the first use
    for line in sys.stdin:
        print(json.dumps([request() for _ in range(int(line))]), flush=True)


def _request(version: Path, data: bytes) -> Callable[[], list[float]]:
    """Goes through the stages with what the network gives for the image, and gives the CPU-ms of each."""
    # In whatever checkout PYTHONPATH names.
    from efsnet import rle  # noqa: PLC0415
    from efsnet.image import decode_image  # noqa: PLC0415
    from efsnet.measurement import measure as measured  # noqa: PLC0415
    from efsnet.postprocessing import to_grid, to_label_map  # noqa: PLC0415
    from efsnet.predictor import Predictor  # noqa: PLC0415
    from efsnet.preprocessing import to_input  # noqa: PLC0415
    from efsnet.specification import Specification  # noqa: PLC0415
    from service.remarks import remarks  # noqa: PLC0415

    manifest = json.loads((version / "manifest.json").read_text(encoding="utf-8"))
    specification = Specification.model_validate(manifest["specification"])
    predictor = Predictor((version / "model.onnx").read_bytes(), specification)
    probability_map = predictor.predict(decode_image(data))

    def request() -> list[float]:
        times = [time.thread_time()]

        def done(result: Any) -> Any:
            times.append(time.thread_time())
            return result

        image = done(decode_image(data))
        tensor = done(to_input(image, specification.input))
        label_map = to_label_map(probability_map, specification.post_processing)
        label_map = done(to_grid(label_map, image.rows, image.columns))
        done(measured(label_map, probability_map=probability_map, classes=specification.classes, spacing=None))
        done(remarks(image, tensor, specification.input))
        done([rle.encode(label_map.mask(each.number)) for each in specification.classes[1:]])
        return [1000 * float(spent) for spent in np.diff(times)]

    return request


if __name__ == "__main__":
    _answer(*map(Path, sys.argv[1:]))
