"""Fixtures for the tests of the model store."""

from collections.abc import Callable, Mapping

import pytest

from model_store.manifest import Draft
from model_store.store import ModelStore
from model_store.version import Version

Publish = Callable[[], Version]


@pytest.fixture
def publish(published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> Publish:
    """Publishes one version more."""
    return lambda: published_store.publish("efsnet", tiny_draft, tiny_contents)


@pytest.fixture
def version(published_store: ModelStore) -> Version:
    """Version 1, by its number."""
    return published_store.version("efsnet", "1")
