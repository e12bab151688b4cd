"""Servers are compared only where they give the same mask, and all of a server counts."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from benchmarks.processes import Server
from benchmarks.serving import Figures, as_markdown, refuse_differing


def png(mask: np.ndarray) -> bytes:
    """As a file."""
    file = io.BytesIO()
    PillowImage.fromarray(mask).save(file, "PNG")
    return file.getvalue()


def test_servers_of_differing_masks_are_not_compared() -> None:
    """A pixel in a thousand may differ, as between engines; more may not, nor the size."""
    mask = np.zeros((100, 100), np.uint8)
    near, far = mask.copy(), mask.copy()
    near[0, :10], far[0, :11] = 1, 1
    masks = {"first": refuse_differing({}, "first", png(mask))}

    refuse_differing(masks, "near", png(near))
    for other in (far, mask[:50]):
        with pytest.raises(RuntimeError, match="other and first give different masks"):
            refuse_differing(masks, "other", png(other))


def test_figures_are_medians_of_rounds_and_percentiles_of_requests() -> None:
    """Which the table shows, a line for each number of connections."""
    figures = Figures(
        ready_s=[1.0, 2.0, 9.0],
        pss_mb=[100.0, 120.0, 110.0],
        cpu_ms={4: [20.0, 30.0, 25.0]},
        per_s={4: [50.0, 70.0, 60.0]},
        latencies_ms={4: [10.0] * 99 + [100.0]},
    )
    told = figures.as_json()
    content = {
        "machine": "a machine",
        "cores": 2,
        "python": "3.11.7",
        "load_average": [0.1, 0.2],
        "version": "efsnet 2",
        "rounds": 3,
        "requests": 100,
        "servers": {"the service": told},
    }

    assert (2.0, 110.0, 25.0, 60.0) == (
        *(told["ready_s"], told["pss_mb"]),
        *(told["connections"]["4"]["cpu_ms"], told["connections"]["4"]["per_s"]),
    )
    assert "| the service | 4 | 25.0 | 10.0 | 10.0 | 10.9 | 60.0 | 110 | 2.0 |" in as_markdown(json.dumps(content))


def test_the_children_of_a_server_count_and_end_with_it(tmp_path: Path) -> None:
    """A peer has processes of its own, which must neither be overlooked nor left behind."""
    child = "import time; open('ready', 'w').close(); time.sleep(60)"
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    server = Server([sys.executable, "-c", parent], {}, tmp_path)
    try:
        while not (tmp_path / "ready").exists():
            assert server.running
        assert 2 == len(server.pids())
        assert 1 < server.pss_mb()
        assert 0 < server.cpu_s()
    finally:
        server.stop()

    assert [] == server.pids()
    assert not server.running
