"""An archive over a cluster of two nodes: nodes and the command itself are killed, and the table has each image once.

In large: ARCHIVE_HOLD_IMAGES=2000, and ARCHIVE_HOLD_FOLDER for images of one's own.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from pyarrow import parquet

from efsnet.rle import decode
from service.archive.rows import mask_of

IMAGES = int(os.environ.get("ARCHIVE_HOLD_IMAGES", "160"))
FOLDER = os.environ.get("ARCHIVE_HOLD_FOLDER")

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, busi: Path) -> Path:
    """Real images again and again, and files that are none."""
    folder = tmp_path_factory.mktemp("archive")
    images = [path for path in sorted((Path(FOLDER) if FOLDER else busi).rglob("*.png")) if "_mask" not in path.name]
    for number, image in enumerate(islice(cycle(images), IMAGES)):
        shutil.copy(image, folder / f"{number:05}.png")
    (folder / "00000-notes.txt").write_text("Dear Sir", encoding="utf-8")
    (folder / "00001-cut.png").write_bytes(images[0].read_bytes()[:5000])
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of the commands: the version that ships, nothing reported, one's own token, all on loopback."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("EFSNET_", "RAY_"))}
    return {
        **ours,
        "EFSNET_STORE": str(tmp_path / "store"),
        "EFSNET_STATE": str(tmp_path / "state"),
        "HOME": str(tmp_path),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0" * 64,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


class Cluster:
    """Two nodes of one core, one of which can be killed; another one then takes its place."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.service.archive.nodes"]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.address = self._line()
        assert self.address, "the cluster did not start: on a busy machine Ray gives up after 15 s"

    def kill_a_node(self) -> None:
        """All processes of one that works, at once."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        assert "killed" == self._line()

    def close(self) -> None:
        """Ends it."""
        self._process.communicate(timeout=120)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def cluster(environment: dict[str, str]) -> Iterator[Cluster]:
    """A cluster."""
    made = Cluster(environment)
    yield made
    made.close()


def command(archive: Path, out: Path, *options: str) -> list[str]:
    """The command that goes through the archive."""
    return [sys.executable, "-m", "service", "backfill", "--engine", "ray", str(archive), "--out", str(out), *options]


def await_parts(out: Path, number: int, process: subprocess.Popen[bytes]) -> None:
    """Returns once so many batches are done, or fails where the command ends first."""
    while len(list(out.glob("parts/*.parquet"))) < number:
        assert process.poll() is None, "it ended before"
        time.sleep(0.05)


def table(out: Path) -> list[dict[str, Any]]:
    """The rows of the table."""
    rows: list[dict[str, Any]] = parquet.read_table(out / "manifest.parquet").to_pylist()
    return rows


def check(archive: Path, rows: list[dict[str, Any]]) -> None:
    """Each file has one row; only those that are no images have none of an image."""
    assert sorted(path.as_uri() for path in archive.iterdir()) == [row["source"] for row in rows]
    unusable = {Path(row["source"]).name: row["code"] for row in rows if row["status"] != "segmented"}
    assert {"00000-notes.txt": "image_undecodable", "00001-cut.png": "image_undecodable"} == unusable


@pytest.mark.requirement("ARC-1", "ARC-2")
@pytest.mark.timeout(3600 if FOLDER else 600)
def test_nodes_that_are_killed_lose_no_image_and_double_none(
    archive: Path, cluster: Cluster, environment: dict[str, str], tmp_path: Path
) -> None:
    """Two of them, in the middle; the masks are those of the single-machine command."""
    out = tmp_path / "out"
    process = subprocess.Popen(command(archive, out, "--cluster", cluster.address), env=environment)
    for part in (2, 5):
        await_parts(out, part, process)
        cluster.kill_a_node()

    assert 0 == process.wait()
    rows = table(out)
    check(archive, rows)
    assert not list(out.glob("attempts/*"))
    alone = [sys.executable, "-m", "service", "segment", "--out", str(tmp_path / "alone")]
    some = sorted(archive.glob("*.png"))[2:20]
    subprocess.run([*alone, *map(str, some)], env=environment, check=True)
    by_source = {row["source"]: row for row in rows}
    for image in some:
        with PillowImage.open(tmp_path / "alone" / "masks" / image.name) as mask:
            assert np.array_equal(np.asarray(mask), label_map(by_source[image.as_uri()]))


@pytest.mark.requirement("ARC-2")
def test_a_command_that_is_killed_goes_on(archive: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """Given once more: what was done stays as it was, and the rest comes. On a cluster of this machine alone."""
    out = tmp_path / "out"
    process = subprocess.Popen(command(archive, out), env=environment)
    await_parts(out, 2, process)
    process.kill()
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in out.glob("parts/*.parquet")}
    subprocess.run(command(archive, out), env=environment, check=True)

    check(archive, table(out))
    assert done == {path: path.stat().st_mtime_ns for path in done}


def label_map(row: dict[str, Any]) -> NDArray[np.uint8]:
    """The class number of each pixel, as the run lengths of a row tell it."""
    numbers = np.zeros((row["rows"], row["columns"]), np.uint8)
    for number, label in enumerate(("benign", "malignant"), 1):
        numbers[decode(mask_of(row, label))] = number
    return numbers


LISTENING = """
from pathlib import Path
from service.archive.cluster import cluster

with cluster(None):
    from ray._common.usage.usage_lib import usage_stats_enabled

    lines = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()]
    print(usage_stats_enabled(), *{local.rpartition(":")[0] for _, local, _, state, *_ in lines if state == "0A"})
"""
"""Tells, of a network in which there is nobody else, at which addresses the cluster listens."""


@pytest.mark.skipif(not all(map(shutil.which, ("unshare", "ip"))), reason="needs unshare and ip")
@pytest.mark.requirement("PRIV-1")
def test_a_cluster_of_this_machine_alone_tells_nobody_and_listens_to_nobody_else(environment: dict[str, str]) -> None:
    """By the command itself: nothing of it is in the environment."""
    alone = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    # An address and a way out, by which Ray would take its node for one that others reach.
    network = "ip link set lo up; ip address add 10.9.9.9/32 dev lo; ip route add default dev lo src 10.9.9.9"
    within = ["sh", "-c", f'{network}; exec "$@"', "sh", sys.executable, "-c", LISTENING]
    ours = {name: value for name, value in environment.items() if not name.startswith("RAY_")}
    told = subprocess.run([*alone, *within], env=ours, check=True, capture_output=True, text=True).stdout.split()

    assert "False" == told[0]
    assert {"0100007F", "0000000000000000FFFF00000100007F"} >= set(told[1:]) > set()
