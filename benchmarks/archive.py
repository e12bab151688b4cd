"""An archive over the cores of this machine: `backfill --engine ray` beside the single-machine command, `segment`."""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import REPOSITORY, Server
from benchmarks.requests import processor

SEGMENT, RAY = "segment", "backfill --engine ray"
LOOK_S = 0.02


def measure(images: Path, count: int, rounds: int) -> str:
    """The figures as JSON.

    Args:
        images: Folder of PNG files, which are taken again and again.
        count: Of files in the archive.
        rounds: In each of which both commands have their turn.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        archive = symlinked(folder / "archive", images, count)
        environment = {"EFSNET_STORE": str(folder / "store"), "EFSNET_STATE": str(folder / "state")}
        before = os.getloadavg()[0]
        rows = []
        for number in range(rounds):
            files = [str(path) for path in sorted(archive.iterdir())]
            out = folder / f"alone-{number}"
            rows.append(
                run_command(
                    SEGMENT, ["segment", *files, "--out", str(out)], environment, out / "masks", out / "areas.csv"
                )
            )
            out = folder / f"ray-{number}"
            command = ["backfill", "--engine", "ray", str(archive), "--out", str(out)]
            rows.append(run_command(RAY, command, environment, out / "parts", out / "manifest.parquet"))
    machine = {"machine": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    load_average = [before, os.getloadavg()[0]]
    return json.dumps({**machine, "load_average": load_average, "images": count, "runs": rows}, indent=2)


def table(text: str) -> str:
    """As Markdown: medians over the rounds."""
    content = json.loads(text)
    lines = [
        "| | images/s and core | of that while analysing | CPU-ms an image | s until the first | most memory MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in (SEGMENT, RAY):
        runs = [row for row in content["runs"] if row["command"] == name]
        figures = [_figures(run, content["images"], content["cores"]) for run in runs]
        per_s, steady, cpu_ms, first_s, pss_mb = np.median(figures, axis=0)
        lines.append(f"| `{name}` | {per_s:.1f} | {steady:.1f} | {cpu_ms:.1f} | {first_s:.1f} | {pss_mb:.0f} |")
    return "\n".join(lines)


def _figures(run: dict[str, Any], images: int, cores: int) -> tuple[float, ...]:
    """Images a second and core, the same without the start, CPU-ms an image, seconds of the start, memory."""
    analysing_s = run["seconds"] - run["first_s"]
    rates = (images / seconds / cores for seconds in (run["seconds"], analysing_s))
    return (*rates, 1000 * run["cpu_s"] / images, run["first_s"], run["pss_mb"])


def symlinked(folder: Path, images: Path, count: int) -> Path:
    """A folder of so many files, which are those of another one again and again."""
    folder.mkdir()
    found = [path for path in sorted(images.rglob("*.png")) if "_mask" not in path.name]
    for number, image in enumerate(islice(cycle(found), count)):
        (folder / f"{number:07}.png").symlink_to(image.resolve())
    return folder


def run_command(
    name: str, command: Sequence[str], environment: Mapping[str, str], results: Path, table: Path
) -> dict[str, Any]:
    """A command until it ends, watched from outside: its first results appear in a folder, and its table at the end.

    Raises:
        RuntimeError: There is no table.
    """
    server = Server([sys.executable, "-m", "service", *command], environment, REPOSITORY)
    cpu_s = pss_mb = first_s = first_cpu_s = 0.0
    looks = 0
    try:
        while server.running:
            cpu_s = max(cpu_s, server.cpu_s())
            if not first_s and results.is_dir() and any(results.iterdir()):
                first_s, first_cpu_s = time.perf_counter() - server.since, cpu_s
            if looks % 50 == 0:
                pss_mb = max(pss_mb, server.pss_mb())
            looks += 1
            time.sleep(LOOK_S)
        seconds = time.perf_counter() - server.since
    finally:
        server.stop()
    if not table.exists():
        raise RuntimeError(f"`{' '.join(command[:3])}` ended without {table.name}.")
    return {
        "command": name,
        "seconds": seconds,
        "first_s": first_s,
        "first_cpu_s": first_cpu_s,
        "cpu_s": cpu_s,
        "pss_mb": pss_mb,
    }
