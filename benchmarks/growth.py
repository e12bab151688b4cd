"""How the cost of a request grows: with the image, with connections, cores and versions, and with requests on end."""

import io
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image as PillowImage

from benchmarks.processes import Server, service
from benchmarks.requests import example_png, processor
from benchmarks.serving import load_from
from model_store.seeding import seed
from model_store.store import ModelStore

MEGAPIXELS = (0.2, 0.5, 1, 2, 5, 10, 20)
CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SAMPLES = 50
"""Of the memory, while requests come on end."""

PATH = "/v1/segment"


@dataclass(frozen=True, slots=True)
class Service:
    """The service on a scratch store, and an image to send."""

    server: Server
    address: str

    def load(self, body: Path, content_type: str, connections: int, requests: int) -> dict[str, Any]:
        """What the load generator tells of as many requests, and the CPU time of each."""
        cpu_s = self.server.cpu_s()
        told = load_from([self.address, PATH, str(body), content_type, "*/*", str(connections), str(requests)])
        latencies_ms = told["latencies_ms"]
        answered = requests - told["failed"]
        return {
            "cpu_ms": 1000 * (self.server.cpu_s() - cpu_s) / max(1, answered),
            "per_s": answered / told["seconds"],
            "p50_ms": float(np.percentile(latencies_ms, 50)),
            "p99_ms": float(np.percentile(latencies_ms, 99)),
            "refused": told["failed"],
            "pss_mb": self.server.pss_mb(),
        }


def measure(on_end: int, each: int) -> str:
    """The figures as JSON.

    Args:
        on_end: Requests one after the other in the last measurement.
        each: Requests of every other one.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "image.png").write_bytes(example_png())
        before = os.getloadavg()[0]
        figures = {
            "image": _by_image(folder, each),
            "connections": _by_connections(folder, each),
            "cores": _by_cores(folder, each),
            "versions": _by_versions(folder, each),
            "on_end": _on_end(folder, on_end),
        }
    load_average = [before, os.getloadavg()[0]]
    machine = {"machine": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    return json.dumps({**machine, "load_average": load_average, "requests": each, **figures}, indent=2)


def draw(text: str, path: Path) -> None:
    """A page of plots, as SVG."""
    content = json.loads(text)
    mpl.rcParams.update({"svg.hashsalt": "efsnet", "font.size": 9})
    page, axes = plt.subplots(3, 2, figsize=(9, 9), layout="constrained")
    for kind, style in (("png", "o-"), ("jpeg", "s--")):
        rows = [row for row in content["image"] if row["kind"] == kind]
        axes[0, 0].plot([row["megapixels"] for row in rows], [row["cpu_ms"] for row in rows], style, label=kind.upper())
    axes[0, 0].set(xlabel="megapixels", ylabel="CPU-ms a request", xscale="log", yscale="log")
    axes[0, 0].legend()
    rows = content["connections"]
    count = [row["connections"] for row in rows]
    axes[0, 1].plot(count, [row["p50_ms"] for row in rows], "o-", label="p50")
    axes[0, 1].plot(count, [row["p99_ms"] for row in rows], "s--", label="p99")
    axes[0, 1].set(xlabel="connections", ylabel="ms", xscale="log", yscale="log")
    axes[0, 1].legend()
    axes[1, 0].plot(count, [row["per_s"] for row in rows], "o-")
    axes[1, 0].set(xlabel="connections", ylabel="requests answered a second", xscale="log", ylim=(0, None))
    rows = content["cores"]
    axes[1, 1].bar([str(row["cores"]) for row in rows], [row["per_s"] for row in rows])
    axes[1, 1].set(xlabel="cores", ylabel="requests answered a second")
    rows = content["versions"]
    axes[2, 0].bar([str(row["versions"]) for row in rows], [row["pss_mb"] for row in rows])
    axes[2, 0].set(xlabel="versions kept loaded", ylabel="memory MB (PSS)")
    rows = content["on_end"]
    axes[2, 1].plot([row["requests"] for row in rows], [row["pss_mb"] for row in rows], "-")
    most = max(row["pss_mb"] for row in rows)
    axes[2, 1].set(xlabel="requests on end", ylabel="memory MB (PSS)", ylim=(0, 1.3 * most))
    page.savefig(path, format="svg", metadata={"Date": None})
    plt.close(page)


def _by_image(folder: Path, each: int) -> list[dict[str, Any]]:
    image = PillowImage.open(io.BytesIO(example_png()))
    rows = []
    with _running(folder) as running:
        for megapixels in MEGAPIXELS:
            height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
            larger = image.resize((height * 4 // 3, height), PillowImage.Resampling.BICUBIC)
            for kind in ("png", "jpeg"):
                body = folder / f"body.{kind}"
                larger.save(body, kind, **({"quality": 90} if kind == "jpeg" else {}))
                row = running.load(body, f"image/{kind}", 1, max(3, each // 10))
                rows.append({"megapixels": megapixels, "kind": kind, "bytes": body.stat().st_size, **row})
    return rows


def _by_connections(folder: Path, each: int) -> list[dict[str, Any]]:
    with _running(folder) as running:
        return [
            {"connections": count, **running.load(folder / "image.png", "image/png", count, max(each, 2 * count))}
            for count in CONNECTIONS
        ]


def _by_cores(folder: Path, each: int) -> list[dict[str, Any]]:
    rows = []
    for cores in range(1, (os.cpu_count() or 1) + 1):
        with _running(folder, cores=cores) as running:
            rows.append({"cores": cores, **running.load(folder / "image.png", "image/png", 8, each)})
    return rows


def _by_versions(folder: Path, each: int) -> list[dict[str, Any]]:
    store = ModelStore(folder / "store")
    numbers = sorted(store.numbers("efsnet"), reverse=True)
    rows = []
    with _running(folder, loaded=len(numbers)) as running:
        for count, number in enumerate(numbers, 1):
            arguments = [running.address, f"{PATH}?version={number}", str(folder / "image.png"), "image/png", "*/*"]
            load_from([*arguments, "4", str(each)])
            rows.append({"versions": count, "pss_mb": running.server.pss_mb()})
    return rows


def _on_end(folder: Path, requests: int) -> list[dict[str, Any]]:
    with _running(folder) as running:
        rows = [{"requests": 0, "pss_mb": running.server.pss_mb(), "per_s": 0.0, "refused": 0}]
        part = max(1, requests // SAMPLES)
        for sample in range(1, SAMPLES + 1):
            row = running.load(folder / "image.png", "image/png", 4, part)
            rows.append({"requests": sample * part, **{key: row[key] for key in ("pss_mb", "per_s", "refused")}})
    return rows


@contextmanager
def _running(folder: Path, *, cores: int | None = None, loaded: int = 2) -> Iterator[Service]:
    """The service, warm in every worker, on so many cores and with so many versions beside production's."""
    store, body = folder / "store", folder / "image.png"
    seed(store)
    taskset = shutil.which("taskset")
    prefix = [taskset, "-c", ",".join(map(str, range(cores)))] if cores and taskset else []
    with service(store, body.read_bytes(), prefix=prefix, EFSNET_LOADED_MB=str(1000 * loaded)) as (server, address):
        running = Service(server, address)
        running.load(body, "image/png", 4, 16)
        yield running
