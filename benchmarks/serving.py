"""The service beside the same model behind plain FastAPI, LitServe, BentoML and mosec.

Each peer runs in an environment of its own, made on the first call, in two ways: with ONNX Runtime as it comes, one
worker whose network takes all cores; and with the service's engine and settings, a worker of one thread a core, so that
only the serving differs. All take the same file and must answer with the same mask.
"""

import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from benchmarks.environments import interpreter
from benchmarks.processes import REPOSITORY, Server, first_answer, free_port
from benchmarks.requests import example_png, processor
from model_store.seeding import seed
from model_store.store import ModelStore

HOME = Path(__file__).parent
CONNECTIONS = (1, 4, 16)
BOUNDARY = "c0ffee"


@dataclass(frozen=True, slots=True)
class Contender:
    """A server to be measured.

    Args:
        name: For the table.
        command: Gives the arguments for a port.
        folder: In which it runs.
        environment: Variables beside those that are there.
        path: Of the request.
        form: Whether the image is sent as the form field `request`.
        accept: Of the request.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    folder: Path
    environment: Mapping[str, str]
    path: str = "/segment"
    form: bool = False
    accept: str = "image/png"


@dataclass(slots=True)
class Figures:
    """Of a contender, over all rounds."""

    ready_s: list[float] = field(default_factory=list)
    pss_mb: list[float] = field(default_factory=list)
    cpu_ms: dict[int, list[float]] = field(default_factory=dict)
    per_s: dict[int, list[float]] = field(default_factory=dict)
    latencies_ms: dict[int, list[float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Medians over the rounds, percentiles over all requests."""
        return {
            "ready_s": float(np.median(self.ready_s)),
            "pss_mb": float(np.median(self.pss_mb)),
            "connections": {
                str(count): {
                    "cpu_ms": float(np.median(self.cpu_ms[count])),
                    "per_s": float(np.median(self.per_s[count])),
                    **dict(zip(("p50_ms", "p95_ms", "p99_ms"), _percentiles(self.latencies_ms[count]), strict=True)),
                }
                for count in self.cpu_ms
            },
        }


def measure(rounds: int, requests: int) -> str:
    """The figures as JSON: in every round every contender is started, asked and ended."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seed(folder / "store")
        version = ModelStore(folder / "store").version("efsnet", "production")
        contenders = _contenders(folder / "store", version.path)
        figures = {contender.name: Figures() for contender in contenders}
        bodies = _bodies(folder)
        before = os.getloadavg()[0]
        masks: dict[str, str] = {}
        for _ in range(rounds):
            for contender in contenders:
                _measure_once(contender, bodies, requests, figures[contender.name], masks)
    return json.dumps(
        {
            "machine": processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load_average": [before, os.getloadavg()[0]],
            "version": str(version),
            "rounds": rounds,
            "requests": requests,
            "peers": {file.stem: file.read_text(encoding="utf-8").split() for file in (HOME / "peers").glob("*.txt")},
            "servers": {name: each.as_json() for name, each in figures.items()},
        },
        indent=2,
    )


def as_markdown(text: str) -> str:
    """The table of what `measure` gave."""
    content = json.loads(text)
    load = " before and ".join(f"{load:.1f}" for load in content["load_average"])
    lines = [
        f"{content['machine']}, {content['cores']} cores, load average {load} after.",
        f"Python {content['python']}, {content['version']}.",
        f"{content['rounds']} rounds of {content['requests']} requests for each number of connections.",
        "",
        "| server | connections | CPU-ms | p50 ms | p95 ms | p99 ms | requests/s | memory MB | s until ready |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, server in content["servers"].items():
        for connections, each in server["connections"].items():
            lines.append(
                f"| {name} | {connections} | {each['cpu_ms']:.1f} | {each['p50_ms']:.1f} | {each['p95_ms']:.1f} "
                f"| {each['p99_ms']:.1f} | {each['per_s']:.1f} | {server['pss_mb']:.0f} | {server['ready_s']:.1f} |"
            )
    return "\n".join(lines)


def _contenders(store: Path, version: Path) -> list[Contender]:
    service = [sys.executable, "-m", "service", "serve", "--port"]
    ours = {"EFSNET_STORE": str(store), "EFSNET_STATE": str(store.with_name("state"))}
    contenders = [
        Contender(
            "the service, JSON", lambda port: [*service, str(port)], REPOSITORY, ours, "/v1/segment", accept="*/*"
        ),
        Contender("the service, PNG", lambda port: [*service, str(port)], REPOSITORY, ours, "/v1/segment"),
    ]
    for engine in ("plain", "ours"):
        for name, command in _PEERS.items():
            python = interpreter(name)
            contenders.append(
                Contender(
                    f"{name}, {'ONNX Runtime as it comes' if engine == 'plain' else 'our engine'}",
                    lambda port, python=python, command=command: command(python.parent, port),  # type: ignore[misc]
                    HOME / "peers",
                    {
                        "EFSNET_PEER_ENGINE": engine,
                        "EFSNET_PEER_VERSION": str(version),
                        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{HOME / 'peers'}",
                        "BENTOML_DO_NOT_TRACK": "true",
                    },
                    form=name == "litserve",
                )
            )
    return contenders


_PEERS: dict[str, Callable[[Path, int], list[str]]] = {
    "fastapi": lambda bin_, port: [str(bin_ / "uvicorn"), "fastapi_app:app", f"--port={port}", "--log-level=warning"],
    "litserve": lambda bin_, port: [str(bin_ / "python"), "litserve_app.py", str(port)],
    "bentoml": lambda bin_, port: [
        *(str(bin_ / "bentoml"), "serve", "bentoml_app:Segmentation"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ],
    "mosec": lambda bin_, port: [
        *(str(bin_ / "python"), "mosec_app.py", "--address", "127.0.0.1", "--port", str(port)),
    ],
}


def _bodies(folder: Path) -> dict[bool, tuple[Path, str]]:
    """The same image as a body and as a form: file and Content-Type."""
    png = example_png()
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="request"; filename="a.png"\r\n\r\n'
    form = head.encode() + png + f"\r\n--{BOUNDARY}--\r\n".encode()
    (folder / "image.png").write_bytes(png)
    (folder / "form").write_bytes(form)
    return {
        False: (folder / "image.png", "image/png"),
        True: (folder / "form", f"multipart/form-data; boundary={BOUNDARY}"),
    }


def _measure_once(
    contender: Contender,
    bodies: Mapping[bool, tuple[Path, str]],
    requests: int,
    figures: Figures,
    masks: dict[str, str],
) -> None:
    port = free_port()
    body, content_type = bodies[contender.form]
    server = Server(contender.command(port), contender.environment, contender.folder)
    try:
        address = f"127.0.0.1:{port}"
        headers = {"Content-Type": content_type, "Accept": contender.accept}
        answer = first_answer(server, address, contender.path, body.read_bytes(), headers)
        figures.ready_s.append(time.perf_counter() - server.since)
        if contender.accept == "image/png":
            masks[contender.name] = refuse_differing(masks, contender.name, answer)
        arguments = [address, contender.path, str(body), content_type, contender.accept]
        _load([*arguments, "4", "16"])  # warms up every worker
        for connections in CONNECTIONS:
            cpu_s = server.cpu_s()
            told = _load([*arguments, str(connections), str(requests)])
            figures.cpu_ms.setdefault(connections, []).append(1000 * (server.cpu_s() - cpu_s) / requests)
            figures.per_s.setdefault(connections, []).append(requests / told["seconds"])
            figures.latencies_ms.setdefault(connections, []).extend(told["latencies_ms"])
        figures.pss_mb.append(server.pss_mb())
    finally:
        server.stop()


def refuse_differing(masks: Mapping[str, str], name: str, png: bytes) -> str:
    """The mask of a PNG, as text that tells masks apart.

    Raises:
        RuntimeError: it differs from another server's in more pixels than engines may: 0.1 %.
    """
    with PillowImage.open(io.BytesIO(png)) as file:
        mask = np.asarray(file)
    for other, text in masks.items():
        shape, values = text.split(":")
        theirs = np.frombuffer(bytes.fromhex(values), np.uint8)
        if shape != str(mask.shape) or np.mean(theirs != mask.ravel()) > 0.001:
            raise RuntimeError(f"{name} and {other} give different masks: there is nothing to compare.")
    return f"{mask.shape}:{mask.astype(np.uint8).tobytes().hex()}"


def load_from(arguments: Sequence[str]) -> dict[str, Any]:
    """What the load generator tells, which takes these arguments."""
    command = [sys.executable, str(HOME / "load.py"), *arguments]
    told: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return told


def _load(arguments: Sequence[str]) -> dict[str, Any]:
    told = load_from(arguments)
    if told["failed"]:
        raise RuntimeError(f"{told['failed']} requests failed: {' '.join(arguments)}")
    return told


def _percentiles(latencies_ms: Sequence[float]) -> list[float]:
    return [float(value) for value in np.percentile(latencies_ms, (50, 95, 99))]
