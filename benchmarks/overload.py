"""Four times as many requests as can be answered: what is refused, how fast, and what the accepted ones wait."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import service
from benchmarks.requests import example_png, processor
from benchmarks.serving import load_from
from model_store.seeding import seed
from model_store.store import ModelStore

TIMES = 4
CAPACITY = 32
"""Of the queue: the service's own default."""

CONNECTIONS, REQUESTS = 16, 300
"""With which the peak is measured."""


def measure(seconds: float) -> str:
    """The figures as JSON."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seed(ModelStore(folder / "store").root)
        image = folder / "image.png"
        image.write_bytes(example_png())
        before = os.getloadavg()[0]
        with service(folder / "store", image.read_bytes(), EFSNET_QUEUE_CAPACITY=str(CAPACITY)) as (server, address):
            arguments = [address, "/v1/segment", str(image), "image/png"]
            load_from([*arguments, "*/*", "4", "40"])
            peak = load_from([*arguments, "*/*", str(CONNECTIONS), str(REQUESTS)])
            peak_per_s = len(peak["latencies_ms"]) / peak["seconds"]
            rows = _flooded([*arguments, str(TIMES * peak_per_s), str(seconds)])
            recovered_s = _recovered_s(address, image.read_bytes())
            memory_mb = server.pss_mb()
        return json.dumps(
            {
                "machine": processor(),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "load_average": [before, os.getloadavg()[0]],
                "seconds": seconds,
                "asked_per_s": TIMES * peak_per_s,
                "peak_per_s": peak_per_s,
                **_figures(rows, seconds),
                "recovered_s": recovered_s,
                "pss_mb": memory_mb,
            },
            indent=2,
        )


def table(text: str) -> str:
    """The same as Markdown."""
    found = json.loads(text)
    rows = (
        ("asked for, a second", f"{found['asked_per_s']:.0f} for {found['seconds']:g} s"),
        ("peak before, answered a second", f"{found['peak_per_s']:.1f}"),
        (
            "answered a second meanwhile",
            f"{found['answered_per_s']:.1f} ({found['answered_per_s'] / found['peak_per_s']:.0%})",
        ),
        ("accepted: p50, p99", f"{found['accepted_p50_ms']:.0f}, {found['accepted_p99_ms']:.0f} ms"),
        ("queue length times service time", f"{found['queue_ms']:.0f} ms"),
        (
            "refused: share, p50, p99",
            f"{found['refused_share']:.0%}, {found['refused_p50_ms']:.0f}, {found['refused_p99_ms']:.0f} ms",
        ),
        ("without an answer", str(found["unanswered"])),
        ("statuses", ", ".join(f"{status}: {count}" for status, count in found["statuses"].items())),
        ("answers as before after", f"{found['recovered_s']:.1f} s"),
        ("memory", f"{found['pss_mb']:.0f} MB"),
    )
    lines = [f"| {what} | {how} |" for what, how in rows]
    average = found["load_average"]
    head = (
        f"{found['machine']}, {found['cores']} cores, load average {average[0]:.1f} before and {average[1]:.1f} after."
    )
    return "\n".join([head, "", "| | |", "|---|---|", *lines])


def _flooded(arguments: list[str]) -> list[tuple[float, int, float]]:
    command = [sys.executable, str(Path(__file__).with_name("flood.py")), *arguments]
    rows: list[tuple[float, int, float]] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return rows


def _figures(rows: list[tuple[float, int, float]], seconds: float) -> dict[str, Any]:
    accepted = [ms for _, status, ms in rows if status == 200]
    refused = [ms for _, status, ms in rows if status in (429, 503)]
    statuses = {str(status): sum(each == status for _, each, _ in rows) for status in sorted({row[1] for row in rows})}
    answered_per_s = len(accepted) / seconds
    return {
        "answered_per_s": answered_per_s,
        "accepted_p50_ms": float(np.percentile(accepted, 50)),
        "accepted_p99_ms": float(np.percentile(accepted, 99)),
        # Those in the queue and at the workers, at the rate at which they are answered.
        "queue_ms": 1000 * (CAPACITY + (os.cpu_count() or 1)) / answered_per_s,
        "refused_share": len(refused) / len(rows),
        "refused_p50_ms": float(np.percentile(refused, 50)) if refused else 0.0,
        "refused_p99_ms": float(np.percentile(refused, 99)) if refused else 0.0,
        "unanswered": statuses.get("0", 0),
        "statuses": statuses,
    }


def _recovered_s(address: str, body: bytes) -> float:
    """Time after the flood until an image is answered."""
    since = time.perf_counter()
    while time.perf_counter() - since < 60:
        connection = HTTPConnection(address, timeout=60)
        connection.request("POST", "/v1/segment", body, {"Content-Type": "image/png"})
        status = connection.getresponse().status
        connection.close()
        if status == 200:
            break
        time.sleep(0.05)
    return time.perf_counter() - since
