"""How long a rollback takes: from the request for it to the first mask by the version before, which is still warm."""

import json
import os
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import service
from benchmarks.requests import COLUMNS, ROWS, example_png, processor
from model_store.seeding import seed
from model_store.store import ModelStore
from service.keys import KeyRing
from service.settings import Settings

ALIAS = "/v1/models/efsnet/aliases/production"


class _Client:
    """One connection, with a key for everything."""

    def __init__(self, address: str, key: str) -> None:
        self._connection = HTTPConnection(address)
        self._key = {"Authorization": f"Bearer {key}"}

    def segment(self, png: bytes, path: str = "/v1/segment") -> int:
        """Number of the version that answers an image."""
        self._connection.request("POST", path, png, {**self._key, "Content-Type": "image/png"})
        return int(self._answer("X-Model-Version"))

    def decide(self, method: str, path: str, body: dict[str, Any]) -> None:
        """Promotes or rolls back."""
        self._connection.request(method, path, json.dumps(body), {**self._key, "Content-Type": "application/json"})
        self._answer("X-Request-Id")

    def _answer(self, header: str) -> str:
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"The service answered {answer.status}: {content.decode()}")
        return str(answer.headers[header])


def measure(rounds: int) -> str:
    """The Markdown of the figures, of so many promotions and rollbacks of the two versions that ship."""
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "store"
        seed(store)
        older, newer = ModelStore(store).numbers("efsnet")[-2:]
        png, before = example_png(), os.getloadavg()[0]
        asked_ms, first_ms = [], []
        with service(store, png) as (_, address):
            # Of a service that is running: before, it would have asked for the key when it was waited for.
            ring = KeyRing(Settings(store=store, state=store.with_name("state")).keys_file)
            key, _ = ring.create("benchmark", ["admin"], 1)
            client = _Client(address, key)
            client.segment(png, f"/v1/segment?version={older}")
            client.segment(png)
            for _ in range(rounds):
                since = time.perf_counter()
                client.decide("POST", f"{ALIAS}/rollback", {"reason": "to measure", "expected_current": newer})
                asked_ms.append(1000 * (time.perf_counter() - since))
                answering = client.segment(png)
                first_ms.append(1000 * (time.perf_counter() - since))
                if answering != older:
                    raise RuntimeError(f"Version {answering} answers after the rollback to {older}.")
                change = {"version": newer, "reason": "to measure again", "expected_current": older}
                client.decide("PUT", ALIAS, change)
    load = f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after"
    return "\n".join(
        [
            f"{processor()}, {os.cpu_count()} cores, {load}.",
            f"From version {newer} to {older} of efsnet, {rounds} times; {COLUMNS}x{ROWS} grey PNG.",
            "",
            "| | p50 ms | p95 ms | most ms |",
            "|---|---:|---:|---:|",
            _row("until the rollback is answered", asked_ms),
            _row("until the first mask by the version before", first_ms),
        ]
    )


def _row(name: str, latencies_ms: list[float]) -> str:
    cells = (*np.percentile(latencies_ms, (50, 95)), max(latencies_ms))
    return f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |"
