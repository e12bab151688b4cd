"""Machines that share no folder: each follows a registry into a store of its own, beside a service of its own."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from model_store.copies.history import announce
from model_store.copies.registry import connected
from model_store.copies.repository import Access, Repository
from model_store.manifest import Draft
from model_store.store import ModelStore
from tests.end_to_end.processes import clean_environment, serve
from tests.model_store.copies.conftest import debian_registry
from tests.model_store.copies.registries import DebianRegistry
from tests.service.conftest import PNG
from tests.service.test_promotions_under_load import steps

__all__ = ["debian_registry", "steps"]  # fixtures

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DELAY_S = 10.0
"""From an announcement until all answer with what was promoted: as docs/replicas.md says."""


@pytest.fixture
def office(tmp_path: Path, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> ModelStore:
    """The store in which promotions are decided: version 1 is in production, version 2 ready."""
    store = ModelStore(tmp_path / "office")
    for _ in range(2):
        store.publish("efsnet", tiny_draft, tiny_contents)
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    return store


def tell(office: ModelStore, registry: DebianRegistry) -> None:
    """Announces what is decided, and the version with it."""
    with connected(Repository.parse(registry.address), Access()) as connection:
        connection.push(office.version("efsnet", "production"))
        announce(office, "efsnet", connection)


@contextmanager
def following(registry: DebianRegistry, store: ModelStore) -> Iterator[None]:
    """A process that follows into a store."""
    command = [sys.executable, "-m", "model_store", "follow", registry.address, "--store", str(store.root)]
    with subprocess.Popen(command, env=clean_environment()) as process:
        try:
            yield
        finally:
            process.terminate()
    assert 0 == process.returncode


def answering(urls: Sequence[str], image: bytes) -> list[str]:
    """The number of the version by which each service answers."""
    answers = [httpx2.post(f"{url}/v1/segment", content=image, headers=PNG, timeout=60) for url in urls]
    return [answer.raise_for_status().headers["X-Model-Version"] for answer in answers]


def wait_for(number: str, urls: Sequence[str], image: bytes, until_s: float) -> None:
    """Returns once all answer by this version; fails after that time."""
    while (found := answering(urls, image)) != [number] * len(urls):
        assert time.monotonic() < until_s, found


@pytest.mark.requirement("OPS-12")
def test_all_follow_what_is_announced(
    office: ModelStore, debian_registry: DebianRegistry, steps: bytes, tmp_path: Path
) -> None:
    """A promotion, then its rollback by a registry that was gone meanwhile; no request fails."""
    wards = [ModelStore(shutil.copytree(office.root, tmp_path / "copied")), ModelStore(tmp_path / "empty")]
    shutil.rmtree(wards[0].version("efsnet", "2").path)
    tell(office, debian_registry)
    with ExitStack() as running:
        for ward in wards:
            running.enter_context(following(debian_registry, ward))
        until_s = time.monotonic() + 60
        while not wards[1].log("efsnet").read():
            assert time.monotonic() < until_s
            time.sleep(0.1)
        command = [sys.executable, "-m", "service", "serve"]
        settings = {"EFSNET_PROVIDER": "cpu", "EFSNET_WORKERS": "1"}
        urls = [running.enter_context(serve(command, ward.root, **settings)) for ward in wards]
        assert ["1", "1"] == answering(urls, steps)

        office.promote("efsnet", "production", 2, by="the tests", why="it is better")
        tell(office, debian_registry)
        wait_for("2", urls, steps, time.monotonic() + DELAY_S)

        debian_registry.kill()
        office.rollback("efsnet", "production", by="the tests", why="it was not")
        assert ["2", "2"] == answering(urls, steps)
        debian_registry.start()
        tell(office, debian_registry)
        wait_for("1", urls, steps, time.monotonic() + DELAY_S)

    assert [office.log("efsnet").contents()] * 2 == [ward.log("efsnet").contents() for ward in wards]
