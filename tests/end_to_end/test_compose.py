"""The stack of docker-compose.yml as a site without internet gets it: bundled, loaded, started, used from outside."""

import io
import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image as Pillow

from tests.end_to_end.processes import clean_environment, free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

LARGEST_IMAGE_BYTES = 700_000_000


@dataclass(frozen=True)
class Stack:
    """A running project of compose, under a name of its own so that it meets no other."""

    folder: Path
    port: int
    prometheus_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs `docker compose` on the stack."""
        return subprocess.run(
            ["docker", "compose", "--project-name", "efsnet-test", *arguments],
            cwd=self.folder,
            env=clean_environment(EFSNET_PORT=str(self.port), PROMETHEUS_PORT=str(self.prometheus_port)),
            check=check,
            capture_output=True,
            text=True,
        )

    def container(self) -> dict[str, Any]:
        """What Docker knows of the service's container."""
        name = self.compose("ps", "--quiet", "service").stdout.strip()
        inspected = subprocess.run(["docker", "inspect", name], check=True, capture_output=True, text=True)
        described: dict[str, Any] = json.loads(inspected.stdout)[0]
        return described

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """Runs Python code in the service's container."""
        return self.compose("exec", "-T", "service", "python", "-c", code, check=False)

    def prometheus(self, path: str, **query: str) -> Any:
        """The data of one answer of Prometheus' API."""
        answer = httpx2.get(f"http://127.0.0.1:{self.prometheus_port}/api/v1/{path}", params=query)
        return answer.raise_for_status().json()["data"]


def engine_runs() -> bool:
    """Whether Docker is installed and its engine answers."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def stack(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack that a bundle starts, healthy."""
    if not engine_runs():
        pytest.skip("no Docker engine runs here")
    subprocess.run([repository / "scripts" / "bundle"], check=True, env=clean_environment())
    folder = tmp_path_factory.mktemp("site")
    [archive] = (repository / "dist").glob("efsnet-*.tar")
    with tarfile.open(archive) as bundle:
        bundle.extractall(folder, filter="data")
    [unpacked] = folder.iterdir()
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=unpacked, check=True)
    subprocess.run(["docker", "load", "--input", unpacked / "images.tar.gz"], check=True)

    stack = Stack(unpacked, free_port(), free_port())
    try:
        stack.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "300")
        yield stack
    except subprocess.CalledProcessError as error:
        pytest.fail(f"{error.stderr}\n{stack.compose('logs', check=False).stdout}")
    finally:
        stack.compose("down", "--volumes", "--timeout", "20", check=False)


@pytest.fixture(scope="module")
def image(busi: Path) -> bytes:
    """A real ultrasound image with a tumour, as PNG."""
    return (busi / "malignant" / "malignant (14).png").read_bytes()


def mask_of(url: str, image: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Class numbers that the service at this address gives the image: (rows, columns) uint8."""
    answer = httpx2.post(
        f"{url}/v1/segment", params={"format": "png"}, content=image, headers={"Content-Type": "image/png"}
    )
    return np.asarray(Pillow.open(io.BytesIO(answer.raise_for_status().content)))


@pytest.mark.requirement("SEG-8")
def test_container_gives_the_mask_that_scripts_serve_gives(stack: Stack, served: str, image: bytes) -> None:
    """An image uploaded from outside comes back as the same mask, on its own grid, whichever way the service runs."""
    contained, local = mask_of(stack.url, image), mask_of(served, image)

    with Pillow.open(io.BytesIO(image)) as upload:
        assert (upload.height, upload.width) == contained.shape
    assert np.array_equal(contained, local)


def test_prometheus_gets_the_latency_of_each_stage(stack: Stack, image: bytes) -> None:
    """After an upload, Prometheus answers how long each stage of it took."""
    mask_of(stack.url, image)
    query = "histogram_quantile(0.95, sum by (stage, le) (efs_stage_duration_seconds_bucket))"
    end = time.monotonic() + 60
    while not (found := stack.prometheus("query", query=query)["result"]) and time.monotonic() < end:
        time.sleep(1)

    assert {row["metric"]["stage"] for row in found} >= {"queue", "decode", "preprocess", "infer", "encode"}


def test_prometheus_takes_every_alert(stack: Stack) -> None:
    """Each rule of alerts.yml is loaded, and evaluates without an error once its turn came."""
    end = time.monotonic() + 60
    while True:
        rules = [rule for group in stack.prometheus("rules")["groups"] for rule in group["rules"]]
        if all(rule["health"] != "unknown" for rule in rules) or time.monotonic() > end:
            break
        time.sleep(1)

    assert rules
    assert {"ok"} == {rule["health"] for rule in rules}


def test_alerts_are_raised_when_they_should_be(stack: Stack) -> None:
    """The cases of alerts.test.yml, as Prometheus' own tool tries them."""
    tried = stack.compose("exec", "-T", "prometheus", "promtool", "test", "rules", "/etc/prometheus/alerts.test.yml")

    assert "SUCCESS" in tried.stdout + tried.stderr


def test_image_is_small(stack: Stack) -> None:
    """The service's image stays below 700 MB."""
    name = stack.container()["Image"]
    inspected = subprocess.run(["docker", "image", "inspect", name], check=True, capture_output=True, text=True)

    assert json.loads(inspected.stdout)[0]["Size"] < LARGEST_IMAGE_BYTES


@pytest.mark.requirement("OPS-7")
def test_container_can_change_nothing_but_its_store(stack: Stack) -> None:
    """It runs as a user of no rights, on a root that cannot be written, with no way to more."""
    host = stack.container()["HostConfig"]

    assert host["ReadonlyRootfs"]
    assert ["ALL"] == host["CapDrop"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert "10001" == stack.python("import os; print(os.getuid())").stdout.strip()
    assert "Read-only file system" in stack.python("open('/app/file', 'w')").stderr
    assert 0 == stack.python("open('/store/file', 'w').close(); import os; os.remove('/store/file')").returncode


def test_only_this_computer_reaches_the_stack(stack: Stack) -> None:
    """Unless EFSNET_BIND opens it, every published port is bound to the loopback address."""
    configured = json.loads(stack.compose("--profile", "*", "config", "--format", "json").stdout)
    addresses = {port["host_ip"] for service in configured["services"].values() for port in service.get("ports", [])}

    assert {"127.0.0.1"} == addresses


def test_image_has_no_torch(stack: Stack) -> None:
    """What only training needs is not in the image."""
    assert "No module named 'torch'" in stack.python("import torch").stderr
    assert "No module named 'training'" in stack.python("import training").stderr


def test_restart_keeps_the_store(stack: Stack, image: bytes) -> None:
    """A restarted container serves the same version, and comes back healthy."""
    before = mask_of(stack.url, image)
    stack.compose("restart", "--timeout", "20", "service")
    stack.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "60")

    assert np.array_equal(before, mask_of(stack.url, image))
