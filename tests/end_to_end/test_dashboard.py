"""Each panel of the dashboard, asked of a real Prometheus that watches a real service."""

import io
import json
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image as PillowImage
from websockets.sync.client import connect

from model_store.store import ModelStore
from tests.end_to_end.processes import free_port
from tests.service.processes import Service, started

SETTLE_S = 12
"""Of scrapes each second, so that there is a rate."""

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus"),
]


def panels() -> list[tuple[str, str]]:
    """Title and query of each, as in the file."""
    path = Path(__file__).resolve().parents[2] / "docker" / "grafana" / "dashboard.json"
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]


def used(service: Service, image: bytes) -> None:
    """Masks, refusals, warnings, a live stream, and a PACS that is not there."""
    noise = io.BytesIO()
    PillowImage.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)).save(noise, "PNG")
    for content in (image, b"no image", noise.getvalue()):
        service.post(content)
    httpx2.post(f"{service.address}/v1/jobs", json={"study_instance_uid": "1.2.3"})
    with connect(f"ws{service.address.removeprefix('http')}/v1/stream") as stream:
        stream.recv()
        for number in range(4):
            # A little darker and brighter in turn: not another scene, and other classes for a model of brightness.
            grey = np.linspace(60, 180, 64 * 64).reshape(64, 64) * (1 + 0.05 * (number % 2))
            stream.send(struct.pack(">IQHHHH", number, 0, 3, 0, 64, 64) + grey.astype(np.uint8).tobytes())
            while isinstance(stream.recv(timeout=30), str):
                pass


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, tiny_draft: Any, tiny_contents: Any, busi: Path
) -> Iterator[str]:
    """Address of a Prometheus that has watched a service being used."""
    folder = tmp_path_factory.mktemp("watched")
    store = ModelStore(folder / "store")
    store.publish("efsnet", tiny_draft, tiny_contents)
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    image = (busi / "benign" / "benign (51).png").read_bytes()
    nobody = f"http://127.0.0.1:{free_port()}/dicom-web"
    settings: dict[str, Any] = {"store": str(store.root), "pacs_url": nobody, "pacs_orthanc_url": nobody}
    with started(folder / "log", **settings) as service:
        port = free_port()
        target = service.address.removeprefix("http://")
        configuration = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "efsnet", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(configuration), encoding="utf-8")
        options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        command = ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"]
        with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
            try:
                end = time.monotonic() + SETTLE_S
                while time.monotonic() < end:
                    used(service, image)
                    time.sleep(1)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


@pytest.mark.requirement("OPS-5")
@pytest.mark.parametrize(("title", "query"), panels())
def test_each_panel_shows_something(prometheus: str, title: str, query: str) -> None:
    """Its query returns data, and numbers."""
    asked = query.replace("$__rate_interval", "10s")
    answer = httpx2.get(f"{prometheus}/api/v1/query", params={"query": asked}).raise_for_status().json()

    values = [float(row["value"][1]) for row in answer["data"]["result"]]
    assert values, title
    assert any(not np.isnan(value) for value in values), title
