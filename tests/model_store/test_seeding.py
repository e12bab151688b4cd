"""The first start: what ships becomes the store's first version, once."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from model_store.errors import DigestMismatch
from model_store.manifest import Draft
from model_store.seeding import SHIPPED, seed
from model_store.signatures import verify
from model_store.store import ModelStore
from tests.model_store.conftest import Signed


def test_an_empty_store_is_given_what_ships(published_store: ModelStore, tmp_path: Path) -> None:
    """Versions and promotions, byte for byte."""
    root = tmp_path / "deep" / "new"

    assert ("efsnet",) == seed(root, shipped=published_store.root)

    copy = ModelStore(root)
    assert published_store.promotions("efsnet") == copy.promotions("efsnet")
    assert copy.version("efsnet", "production").digest == published_store.version("efsnet", "1").digest
    assert () == copy.version("efsnet", "1").damage()
    assert [root / "efsnet"] == list(root.iterdir())


def test_a_store_that_has_the_model_is_left_alone(
    published_store: ModelStore, tmp_path: Path, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """A hospital's own version stays, and an upgrade promotes nothing."""
    own = ModelStore(tmp_path / "own")
    version = own.publish("efsnet", tiny_draft, tiny_contents)

    assert () == seed(own.root, shipped=published_store.root)
    assert (version,) == own.versions("efsnet")
    assert {} == own.aliases("efsnet")


def test_an_older_store_is_given_the_signature_of_the_same_version(signed: Signed, published_store: ModelStore) -> None:
    """And nothing else; what it has already stays."""
    assert () == seed(published_store.root, shipped=signed.store.root)

    version = published_store.version("efsnet", "production")
    assert signed.signature == verify(version, signed.trusted)
    assert () == version.damage()
    (version.path / "model.sig").unlink()
    (version.path / "model.sig").write_bytes(b"another")
    seed(published_store.root, shipped=signed.store.root)
    assert b"another" == version.signature()


def test_another_version_of_that_number_is_not_signed(
    signed: Signed, tmp_path: Path, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """A hospital's own is not the one that ships."""
    own = ModelStore(tmp_path / "own").publish("efsnet", tiny_draft, {**tiny_contents, "NOTES.md": b"ours"})

    seed(tmp_path / "own", shipped=signed.store.root)

    assert None is own.signature()


def test_a_damaged_version_keeps_nobody_from_starting(signed: Signed, published_store: ModelStore) -> None:
    """It gets no signature, and who loads it says why."""
    manifest = published_store.root / "efsnet" / "versions" / "1" / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_bytes(b"{}")

    assert () == seed(published_store.root, shipped=signed.store.root)
    assert not (manifest.parent / "model.sig").exists()


def test_other_models_of_the_store_stay(
    published_store: ModelStore, tmp_path: Path, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """Only what is missing is copied."""
    own = ModelStore(tmp_path / "own")
    own.publish("other", tiny_draft, tiny_contents)

    assert ("efsnet",) == seed(own.root, shipped=published_store.root)
    assert ("efsnet", "other") == own.names()


def test_an_empty_frame_is_filled(published_store: ModelStore, tmp_path: Path) -> None:
    """As it is left where the first publication ever was killed."""
    (tmp_path / "own" / "efsnet" / "versions").mkdir(parents=True)

    assert ("efsnet",) == seed(tmp_path / "own", shipped=published_store.root)


def test_what_is_in_the_way_is_left_alone(published_store: ModelStore, tmp_path: Path) -> None:
    """Nothing of somebody's is removed to make room."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "efsnet").write_bytes(b"mine")

    assert () == seed(tmp_path / "own", shipped=published_store.root)
    assert b"mine" == (tmp_path / "own" / "efsnet").read_bytes()


def test_a_damaged_version_is_not_copied(published_store: ModelStore, tmp_path: Path) -> None:
    """An installation that went wrong is found before the first start."""
    model = published_store.root / "efsnet" / "versions" / "1" / "model.onnx"
    model.chmod(0o644)
    model.write_bytes(b"x")

    with pytest.raises(DigestMismatch, match=r"model\.onnx"):
        seed(tmp_path / "own", shipped=published_store.root)
    assert () == ModelStore(tmp_path / "own").names()


def test_what_ships_is_intact(tmp_path: Path) -> None:
    """Every model in the package has a production version, all in this checkout are undamaged, and all are copied."""
    shipped = ModelStore(SHIPPED)

    assert shipped.names() == seed(tmp_path)
    for name in shipped.names():
        assert () == ModelStore(tmp_path).version(name, "production").damage()
