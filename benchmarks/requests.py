"""What a request costs beyond the bare prediction: an 800x600 grey PNG, one client and four."""

import io
import os
import platform
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from benchmarks.processes import Server, service
from efsnet.batching import Predicting
from efsnet.image import decode_image
from efsnet.preprocessing import to_input
from model_store.loading import load
from model_store.seeding import seed
from model_store.store import ModelStore

ROWS, COLUMNS = 600, 800
CLIENTS = (1, 4)
_IMAGE = Path(__file__).parent.parent / "tests" / "data" / "Dataset_BUSI_with_GT" / "benign" / "benign (51).png"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    repeats: int
    store: Path | None


@dataclass(slots=True)
class Figures:
    """What was measured of one thing, over all rounds."""

    latencies_ms: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0

    @property
    def row(self) -> tuple[str, ...]:
        """CPU-ms each, p50 and p95 latency."""
        p50, p95 = np.percentile(self.latencies_ms, (50, 95))
        return f"{self.cpu_ms / len(self.latencies_ms):.1f}", f"{p50:.1f}", f"{p95:.1f}"


def measure(plan: Plan) -> str:
    """The Markdown of the figures. All kinds are measured in turn in each round, so that all meet the same load."""
    with tempfile.TemporaryDirectory() as scratch:
        store = plan.store or Path(scratch) / "store"
        seed(store)
        version = ModelStore(store).version("efsnet", "production")
        loaded = load(version)
        png = example_png()
        tensor = to_input(decode_image(png), version.manifest.specification.input)
        bare = Figures()
        served = {clients: Figures() for clients in CLIENTS}
        load_before = os.getloadavg()[0]
        with service(store, png) as (server, address):
            _post(address, png, plan.repeats)  # warms up
            for _ in range(plan.rounds):
                _predict(loaded.predictor, tensor, plan.repeats, bare)
                for clients, figures in served.items():
                    _request(server, address, png, (clients, plan.repeats), figures)
            memory_mb = server.pss_mb()
        engine, grid = loaded.predictor.engine, version.manifest.specification.input
        fastapi, uvicorn = installed("fastapi"), installed("uvicorn")
        after = os.getloadavg()[0]
        lines = [
            f"{processor()}, {os.cpu_count()} cores, load average {load_before:.1f} before and {after:.1f} after.",
            f"Python {platform.python_version()}, FastAPI {fastapi}, uvicorn {uvicorn}, {engine.name}",
            f"({engine.provider}, {engine.precision}), {version}, {grid.rows}x{grid.columns}.",
            f"{COLUMNS}x{ROWS} grey PNG of {len(png) // 1000} kB, {plan.rounds} rounds of {plan.repeats}.",
            f"Memory of the service (PSS): {memory_mb:.0f} MB at the end.",
            "",
            "| | CPU-ms each | p50 ms | p95 ms |",
            "|---|---|---|---|",
            _row("bare prediction, one thread", bare.row),
        ]
        lines += [_row(f"POST /v1/segment, {clients} at a time", each.row) for clients, each in served.items()]
        return "\n".join(lines)


def _row(name: str, cells: tuple[str, ...]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def example_png() -> bytes:
    """A real image in the size that is asked for."""
    file = io.BytesIO()
    PillowImage.open(_IMAGE).convert("L").resize((COLUMNS, ROWS)).save(file, "PNG")
    return file.getvalue()


def _predict(predictor: Predicting, tensor: np.ndarray, repeats: int, figures: Figures) -> None:
    cpu = time.process_time()
    for _ in range(repeats):
        since = time.perf_counter()
        predictor.run(tensor)
        figures.latencies_ms.append((time.perf_counter() - since) * 1000)
    figures.cpu_ms += (time.process_time() - cpu) * 1000


def _request(server: Server, address: str, png: bytes, load: tuple[int, int], figures: Figures) -> None:
    clients, repeats = load
    cpu = server.cpu_s()
    with ThreadPoolExecutor(clients) as pool:
        for latencies_ms in pool.map(lambda _: _post(address, png, repeats // clients), range(clients)):
            figures.latencies_ms += latencies_ms
    figures.cpu_ms += (server.cpu_s() - cpu) * 1000


def _post(address: str, png: bytes, times: int) -> list[float]:
    """Milliseconds of each of so many requests, one after the other on one connection."""
    connection = HTTPConnection(address)
    latencies_ms = []
    for _ in range(times):
        since = time.perf_counter()
        connection.request("POST", "/v1/segment", png, {"Content-Type": "image/png"})
        answer = connection.getresponse()
        content = answer.read()
        latencies_ms.append((time.perf_counter() - since) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"The service answered {answer.status}: {content.decode()}")
    connection.close()
    return latencies_ms


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
