"""Live streams as a client sees them: masks a second, delay and whether it grows, shares, and uploads beside them."""

import asyncio
import io
import json
import os
import struct
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import PIL.Image
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.examinations import FRAME_RATE, Scene, examination, read_still
from benchmarks.processes import REPOSITORY, service
from benchmarks.requests import example_png, processor
from model_store.seeding import seed
from model_store.store import ModelStore

BUSI = REPOSITORY / "tests" / "data" / "Dataset_BUSI_with_GT"
UPLOAD_EVERY_S = 1.0
SCENES = (Scene(0, 3.0, slide=(0.03, 0.08), breathing=0.02),)
"""Begins where it ends, so that it can be shown over and over without a cut."""

HEADER = struct.Struct(">IQHH")


@dataclass(slots=True)
class Figures:
    """Of one stream."""

    latencies_ms: list[float] = field(default_factory=list)
    """From the sending of a frame until its answer was there, in their order."""
    statistics: dict[str, Any] = field(default_factory=dict)

    def as_json(self, seconds: float) -> dict[str, Any]:
        """Rates and percentiles; of the first and of the last tenth, the median tells whether the delay grows."""
        tenth = max(1, len(self.latencies_ms) // 10)
        p50, p95, p99 = np.percentile(self.latencies_ms, (50, 95, 99))
        return {
            "masks_per_s": len(self.latencies_ms) / seconds,
            "p50_ms": float(p50),
            "p95_ms": float(p95),
            "p99_ms": float(p99),
            "first_tenth_p50_ms": float(np.median(self.latencies_ms[:tenth])),
            "last_tenth_p50_ms": float(np.median(self.latencies_ms[-tenth:])),
            "dropped": self.statistics["dropped"],
            "received": self.statistics["received"],
        }


def measure(seconds: float, counts: Sequence[int]) -> str:
    """The figures as JSON, with so many streams at once, and a single upload each second beside them."""
    frames = _jpegs()
    runs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "store"
        seed(store)
        version = ModelStore(store).version("efsnet", "production")
        png, before = example_png(), os.getloadavg()[0]
        for count in counts:
            with service(store, png) as (server, address):
                cpu_s = server.cpu_s()
                streams, uploads_ms = asyncio.run(_run(address, frames, count, seconds))
                masks = sum(len(each.latencies_ms) for each in streams)
                uploads = len(uploads_ms)
                runs[str(count)] = {
                    "streams": [each.as_json(seconds) for each in streams],
                    "upload_ms": dict(zip(("p50", "max"), np.percentile(uploads_ms, (50, 100)).tolist(), strict=True)),
                    "cpu_ms_per_image": 1000 * (server.cpu_s() - cpu_s) / (masks + uploads),
                    "pss_mb": server.pss_mb(),
                }
    size = version.manifest.specification.input
    return json.dumps(
        {
            "machine": processor(),
            "cores": os.cpu_count(),
            "load_average": [before, os.getloadavg()[0]],
            "version": str(version),
            "network": [size.rows, size.columns],
            "frame_rate": FRAME_RATE,
            "seconds": seconds,
            "runs": runs,
        },
        indent=2,
    )


def as_markdown(text: str) -> str:
    """The table of what `measure` gave."""
    content = json.loads(text)
    rows, columns = content["network"]
    before, after = content["load_average"]
    lines = [
        f"{content['machine']}, {content['cores']} cores, load average {before:.1f} before and {after:.1f} after.",
        f"{content['version']}, {rows}x{columns}; {content['frame_rate']} JPEG frames a second on each stream,",
        f"for {content['seconds']:g} s, and an upload each second.",
        "",
        f"| {' | '.join(_TITLES)} |",
        f"|{len(_TITLES) * '---:|'}",
    ]
    for count, run in content["runs"].items():
        streams, upload = run["streams"], run["upload_ms"]
        cells = [" / ".join(f"{each[name]:.{digits}f}" for each in streams) for name, digits in _COLUMNS]
        figures = f"{upload['p50']:.0f} | {upload['max']:.0f} | {run['cpu_ms_per_image']:.1f} | {run['pss_mb']:.0f}"
        lines.append(f"| {count} | {' | '.join(cells)} | {figures} |")
    return "\n".join(lines)


_TITLES = (
    *("streams", "masks/s of each", "p50 ms", "p95 ms", "p50 ms of the first tenth", "of the last"),
    *("upload p50 ms", "upload max ms", "CPU-ms an image", "memory MB"),
)
_COLUMNS = (("masks_per_s", 1), ("p50_ms", 0), ("p95_ms", 0), ("first_tenth_p50_ms", 0), ("last_tenth_p50_ms", 0))


def _jpegs() -> list[bytes]:
    encoded = []
    for frame in examination((read_still(BUSI, "benign", 51),), seed=1, scenes=SCENES):
        file = io.BytesIO()
        PIL.Image.fromarray(frame.pixels).save(file, "JPEG", quality=85)
        encoded.append(file.getvalue())
    return encoded


async def _run(address: str, frames: list[bytes], count: int, seconds: float) -> tuple[list[Figures], list[float]]:
    async with asyncio.TaskGroup() as group:
        streams = [group.create_task(_stream(address, frames, seconds)) for _ in range(count)]
        uploads = group.create_task(_uploads(address, seconds))
    return [stream.result() for stream in streams], uploads.result()


async def _stream(address: str, frames: list[bytes], seconds: float) -> Figures:
    figures = Figures()
    async with connect(f"ws://{address}/v1/stream", compression=None) as connection:
        receiving = asyncio.create_task(_receive(connection, figures))
        start = time.perf_counter()
        for sequence in range(round(seconds * FRAME_RATE)):
            await asyncio.sleep(max(0.0, start + sequence / FRAME_RATE - time.perf_counter()))
            sent_us = int(time.perf_counter() * 1e6)
            await connection.send(HEADER.pack(sequence, sent_us, 1, 0) + frames[sequence % len(frames)])
        await asyncio.sleep(1.5)  # for the last statistics
        receiving.cancel()
    return figures


async def _receive(connection: ClientConnection, figures: Figures) -> None:
    async for message in connection:
        if isinstance(message, str):
            content = json.loads(message)
            if content["type"] == "stats":
                figures.statistics = content
        else:
            _, sent_us, _, _ = HEADER.unpack_from(message)
            figures.latencies_ms.append(1000 * time.perf_counter() - sent_us / 1000)


async def _uploads(address: str, seconds: float) -> list[float]:
    png, latencies_ms = example_png(), []
    async with httpx2.AsyncClient(base_url=f"http://{address}", timeout=60) as client:
        for _ in range(round(seconds / UPLOAD_EVERY_S)):
            since = time.perf_counter()
            answer = await client.post("/v1/segment", content=png, headers={"Content-Type": "image/png"})
            answer.raise_for_status()
            latencies_ms.append(1000 * (time.perf_counter() - since))
            await asyncio.sleep(UPLOAD_EVERY_S)
    return latencies_ms
