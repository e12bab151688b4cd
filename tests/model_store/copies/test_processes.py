"""Copying by processes that are killed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from model_store.copies import archive, history
from model_store.copies.registry import connected
from model_store.copies.repository import Access, Repository
from model_store.manifest import MANIFEST
from model_store.store import ModelStore
from model_store.version import Version
from tests.model_store.copies.registries import Contents, DebianRegistry, small_registry

Happen = Callable[..., dict[str, Any]]


@pytest.fixture
def happen(published_store: ModelStore, repository: Path) -> Happen:
    """Runs a scenario of `processes.py` on the store and gives what it saw."""

    def run(scenario: str, action: str, copy: object, kills: int = 0) -> dict[str, Any]:
        program = Path(__file__).with_name("processes.py")
        command = [sys.executable, str(program), scenario, action, str(published_store.root)]
        environment = {**os.environ, "PYTHONPATH": str(repository), "COPY": str(copy), "KILLS": str(kills)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


def test_an_import_killed_before_any_access_to_the_disk(happen: Happen, second: Version, tmp_path: Path) -> None:
    """After each kill, all that readers see is whole, and the same import succeeds in spite of what is left."""
    archive.write(second, tmp_path / "x.tar")

    result = happen("killed_at_every_step", "import", tmp_path / "x.tar")

    assert [] == result["damage"]
    assert 0 == result["last"]
    assert 20 < result["kills"]


@pytest.mark.system
def test_a_pull_killed_before_any_access_to_the_disk(happen: Happen, second: Version) -> None:
    """Likewise."""
    with small_registry(Contents()) as address:
        with connected(Repository.parse(address), Access()) as registry:
            registry.push(second)
        result = happen("killed_at_every_step", "pull", address)

    assert [] == result["damage"]
    assert 0 == result["last"]
    assert 20 < result["kills"]


@pytest.fixture
def followed(published_store: ModelStore, tmp_path: Path) -> Iterator[tuple[str, ModelStore]]:
    """A registry, and a store that announces there and begins as `published_store` does."""
    office = ModelStore(shutil.copytree(published_store.root, tmp_path / "office"))
    with small_registry(Contents()) as address:
        yield address, office


def announced(address: str, office: ModelStore, *numbers: int) -> None:
    """Publishes and promotes these versions one after the other, pushes the last, and announces all."""
    version = office.version("efsnet", "1")
    contents = {path: content for path, content in version.contents().items() if path != MANIFEST}
    for number in numbers:
        version = office.publish("efsnet", version.manifest, contents)
        office.promote("efsnet", "production", number, by="the tests", why="it is newer")
    with connected(Repository.parse(address), Access()) as registry:
        registry.push(version)
        history.announce(office, "efsnet", registry)


@pytest.mark.system
def test_following_killed_before_any_access_to_the_disk(happen: Happen, followed: tuple[str, ModelStore]) -> None:
    """Between the version and its record too: no promotion is seen without its version."""
    announced(*followed, 2)

    result = happen("killed_at_every_step", "follow", followed[0])

    assert [] == result["damage"]
    assert 0 == result["last"]
    assert 20 < result["kills"]


def test_following_is_not_ended_between_two_records(
    happen: Happen, followed: tuple[str, ModelStore], published_store: ModelStore
) -> None:
    """By a first one production names a version that is nowhere any more; it ends behind the last."""
    announced(*followed, 2, 3, 4)

    result = happen("asked_to_end_between_records", "follow", followed[0])

    assert {"code": 7, "damage": [], "records": 4} == result
    assert (1, 4) == published_store.numbers("efsnet")


@pytest.mark.system
def test_an_import_killed_at_any_moment(happen: Happen, second: Version, tmp_path: Path) -> None:
    """200 times: the store is whole, and the same import succeeds."""
    archive.write(second, tmp_path / "x.tar")

    result = happen("killed_at_random", "import", tmp_path / "x.tar", 200)

    assert {"kills": 200, "damage": []} == result


@pytest.mark.system
def test_a_pull_killed_at_any_moment(happen: Happen, second: Version, debian_registry: DebianRegistry) -> None:
    """200 times: the store is whole, and the same pull succeeds."""
    with connected(Repository.parse(debian_registry.address), Access()) as registry:
        registry.push(second)

    result = happen("killed_at_random", "pull", debian_registry.address, 200)

    assert {"kills": 200, "damage": []} == result
