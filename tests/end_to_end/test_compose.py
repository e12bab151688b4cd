"""The stack of docker-compose.yml as a site without internet gets it: bundled, loaded, started, used from outside."""

import io
import json
import shutil
import ssl
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image as Pillow

from tests.certificates import certificate
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

    def container(self, service: str = "service") -> dict[str, Any]:
        """What Docker knows of the container of one of its services."""
        name = self.compose("ps", "--all", "--quiet", service).stdout.strip()
        inspected = subprocess.run(["docker", "inspect", name], check=True, capture_output=True, text=True)
        described: dict[str, Any] = json.loads(inspected.stdout)[0]
        return described

    def limit_memory(self, count: int) -> None:
        """Gives the service's container so many bytes, and none to swap to."""
        limits = f"--memory={count}", f"--memory-swap={count}"
        subprocess.run(["docker", "update", *limits, self.container()["Id"]], check=True, capture_output=True)

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


def mask_of(url: str, image: bytes, trusting: ssl.SSLContext | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Class numbers that the service at this address gives the image: (rows, columns) uint8."""
    answer = httpx2.post(
        f"{url}/v1/segment",
        params={"format": "png"},
        content=image,
        headers={"Content-Type": "image/png"},
        verify=trusting or True,
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


@pytest.mark.requirement("ACC-5")
def test_the_door_with_tls(stack: Stack, image: bytes, tmp_path: Path) -> None:
    """The profile `tls`, from outside: the same masks, over TLS alone, and no metrics by whatever path."""
    authority = certificate(tmp_path, "authority")
    own, port = certificate(tmp_path, "localhost", authority), free_port()
    for file in own.files:
        file.chmod(0o644)  # for the user of the proxy's container, who is none here
    places = {"TLS_CERTIFICATE": own.files[0], "TLS_KEY": own.files[1], "TLS_PORT": port}
    (stack.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in places.items()), encoding="utf-8")
    trusting = ssl.create_default_context(cafile=str(authority.files[0]))
    try:
        stack.compose("--profile", "tls", "up", "--detach", "--no-build", "--wait", "--wait-timeout", "60", "tls")
        statuses = {path: https_status(port, trusting, path) for path in ("/livez", *WAYS_TO_METRICS)}
        inside = mask_of(f"https://localhost:{port}", image, trusting)
        host = stack.container("tls")["HostConfig"]
        in_the_clear = httpx2.get(f"http://localhost:{port}/livez").status_code
    finally:
        stack.compose("--profile", "tls", "rm", "--stop", "--force", "tls", check=False)
        (stack.folder / ".env").unlink()

    assert statuses == {"/livez": 200} | dict.fromkeys(WAYS_TO_METRICS, 404)
    assert np.array_equal(mask_of(stack.url, image), inside)
    assert 400 == in_the_clear
    assert (True, ["ALL"]) == (host["ReadonlyRootfs"], host["CapDrop"])


WAYS_TO_METRICS = ("/metrics", "//metrics", "/./metrics", "/%6detrics", "/livez/../metrics", "/livez/%2e%2e/metrics")


def https_status(port: int, trusting: ssl.SSLContext, path: str) -> int:
    """Of a path as it is written, which other clients would tidy up."""
    with closing(HTTPSConnection("localhost", port, context=trusting, timeout=30)) as connection:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        connection.endheaders()
        return connection.getresponse().status


def test_the_follower_of_a_registry(stack: Stack) -> None:
    """The profile `follow`: it says what keeps it, changes nothing but the store, and ends when asked to."""
    (stack.folder / ".env").write_text("FOLLOW_REPOSITORY=127.0.0.1:1/models/efsnet\n", encoding="utf-8")
    try:
        stack.compose("--profile", "follow", "up", "--detach", "--no-build", "follower")
        end = time.monotonic() + 60
        while not (said := stack.compose("--profile", "follow", "logs", "--no-log-prefix", "follower").stdout):
            assert time.monotonic() < end
            time.sleep(0.5)
        host = stack.container("follower")["HostConfig"]
        stack.compose("--profile", "follow", "stop", "--timeout", "20", "follower")
        ended = stack.container("follower")["State"]["ExitCode"]
    finally:
        stack.compose("--profile", "follow", "rm", "--stop", "--force", "follower", check=False)
        (stack.folder / ".env").unlink()

    assert "Not followed: 127.0.0.1:1/models/efsnet cannot be reached" in said  # behind codes of the terminal
    assert (True, ["ALL"]) == (host["ReadonlyRootfs"], host["CapDrop"])
    assert 0 == ended


@pytest.mark.requirement("OPS-6")
def test_a_container_over_its_memory_is_started_again(stack: Stack, image: bytes) -> None:
    """The system ends the service whose container is too small for an image, and Docker starts it again."""
    expected, before = mask_of(stack.url, image), stack.container()
    file = io.BytesIO()
    Pillow.new("RGB", (5000, 5000), (90, 90, 90)).save(file, "PNG")
    small, usual = 220_000_000, before["HostConfig"]["Memory"]
    stack.limit_memory(small)
    try:
        end = time.monotonic() + 60
        while stack.container()["RestartCount"] == before["RestartCount"]:
            assert time.monotonic() < end
            with suppress(httpx2.TransportError):
                httpx2.post(f"{stack.url}/v1/segment", content=file.getvalue(), headers={"Content-Type": "image/png"})
    finally:
        stack.limit_memory(usual)
    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--wait", "--wait-timeout", "120")

    assert np.array_equal(expected, mask_of(stack.url, image))


@pytest.mark.requirement("OPS-11")
def test_replicas_answer_at_the_same_address(stack: Stack, image: bytes) -> None:
    """Three of them, started beside the one that runs; one is killed, and no request fails; Prometheus sees each."""
    expected = mask_of(stack.url, image)
    scale = ("up", "--detach", "--no-build", "--no-recreate", "--wait", "--wait-timeout", "120", "--scale")
    stack.compose(*scale, "service=3")
    try:
        end = time.monotonic() + 60
        while len(stack.prometheus("query", query='up{job="efsnet"} == 1')["result"]) < 3:
            assert time.monotonic() < end
            time.sleep(1)
        victim = stack.compose("ps", "--quiet", "service").stdout.split()[0]
        for number in range(30):
            if number == 5:
                subprocess.run(["docker", "kill", victim], check=True, capture_output=True)
            assert np.array_equal(expected, mask_of(stack.url, image))
    finally:
        stack.compose(*scale, "service=1")
