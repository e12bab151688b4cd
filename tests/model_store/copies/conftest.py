"""Fixtures for the tests of copies."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from model_store.manifest import Draft
from model_store.store import ModelStore
from model_store.version import Version
from tests.model_store.copies.registries import PROGRAM, DebianRegistry


@pytest.fixture(scope="session")
def _elsewhere_to_copy(
    tmp_path_factory: pytest.TempPathFactory, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> Path:
    store = ModelStore(tmp_path_factory.mktemp("elsewhere"))
    store.publish("efsnet", tiny_draft.model_copy(update={"intended_use": "Tests elsewhere."}), tiny_contents)
    store.publish("efsnet", tiny_draft, tiny_contents)
    return store.root


@pytest.fixture
def elsewhere(tmp_path: Path, _elsewhere_to_copy: Path) -> ModelStore:
    """Another store: its version 1 is not that of `published_store`, and it has a version 2."""
    return ModelStore(shutil.copytree(_elsewhere_to_copy, tmp_path / "elsewhere"))


@pytest.fixture
def second(elsewhere: ModelStore) -> Version:
    """Version 2 of the other store."""
    return elsewhere.version("efsnet", "2")


@pytest.fixture
def debian_registry(tmp_path: Path) -> Iterator[DebianRegistry]:
    """Debian's registry, running and empty."""
    if not PROGRAM:
        pytest.skip("needs docker-registry: sudo apt-get install docker-registry")
    registry = DebianRegistry(tmp_path / "registry")
    registry.start()
    yield registry
    registry.kill()
