"""Fixtures for the tests of the model store."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_store.manifest import Draft
from model_store.signatures import Signature, TrustedKeys
from model_store.signing import generate, sign
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


@dataclass(frozen=True)
class Signed:
    """A store whose version 1 is signed, and the keys."""

    store: ModelStore
    signature: Signature
    private_key: Path
    keys: Path
    """Holds the public key of who signed it."""

    @property
    def version(self) -> Version:
        """As it is now."""
        return self.store.version("efsnet", "1")

    @property
    def trusted(self) -> TrustedKeys:
        """The signer's key alone."""
        return TrustedKeys.read(self.keys)

    @property
    def file(self) -> Path:
        """The signature, to be tampered with."""
        return self.version.path / "model.sig"


@pytest.fixture(scope="session")
def _signed_to_copy(tmp_path_factory: pytest.TempPathFactory, _store_to_copy: Path) -> Signed:
    folder = tmp_path_factory.mktemp("signed")
    store = ModelStore(shutil.copytree(_store_to_copy, folder / "store"))
    (folder / "keys").mkdir()
    private_key = folder / "hospital.pem"
    generate(private_key)
    (folder / "hospital.pub").rename(folder / "keys" / "hospital.pub")
    return Signed(store, sign(store.version("efsnet", "1"), private_key), private_key, folder / "keys")


@pytest.fixture
def signed(tmp_path: Path, _signed_to_copy: Signed) -> Signed:
    """A store of one's own, whose version 1 the key `hospital` has signed."""
    whole = shutil.copytree(_signed_to_copy.keys.parent, tmp_path / "signed")
    return Signed(ModelStore(whole / "store"), _signed_to_copy.signature, whole / "hospital.pem", whole / "keys")
