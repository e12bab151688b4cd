"""Taking a version of unknown trust into a store."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_store.copies.arrival import CONTENT_MAX_BYTES, FILES_MAX, Order, arrive, limits
from model_store.digest import Digest
from model_store.errors import (
    ChainBroken,
    CopyInvalid,
    DigestMismatch,
    FileMissing,
    FileUnexpected,
    IntegrityError,
    ManifestInvalid,
    SignatureInvalid,
    SignerUnknown,
    Unsigned,
    VersionTaken,
)
from model_store.manifest import MANIFEST, SIGNATURE, FileDigest
from model_store.seeding import SHIPPED
from model_store.signatures import TrustedKeys
from model_store.signing import generate
from model_store.store import ModelStore
from model_store.version import Version

KEYS = SHIPPED.with_name("keys")
ORDER = Order("efsnet")


@pytest.fixture
def shipped() -> Version:
    """A version that is signed."""
    return ModelStore(SHIPPED).version("efsnet", "2")


def snapshot(root: Path) -> Mapping[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_version_keeps_its_number_and_its_bytes(published_store: ModelStore, second: Version) -> None:
    """And with them its digest; nobody may write to its files, and nothing temporary stays."""
    arrival = arrive(published_store, second.contents(), ORDER)

    assert arrival.new
    assert (2, second.digest) == (arrival.version.number, arrival.version.digest)
    assert second.contents() == published_store.version("efsnet", "2").contents()
    assert not any(path.stat().st_mode & 0o222 for path in arrival.version.path.rglob("*") if path.is_file())
    assert [] == list(published_store.root.rglob(".*"))


def test_a_version_comes_without_promotions(elsewhere: ModelStore, second: Version, tmp_path: Path) -> None:
    """Which version serves is decided where it serves."""
    elsewhere.promote("efsnet", "production", 2, by="the tests", why="elsewhere it is good")
    store = ModelStore(tmp_path / "empty")

    arrive(store, second.contents(), ORDER)

    assert (2,) == store.numbers("efsnet")
    assert {} == store.aliases("efsnet")


def test_the_same_version_a_second_time_changes_nothing(published_store: ModelStore, version: Version) -> None:
    """So that a command that was interrupted can be given again."""
    before = snapshot(published_store.root)

    assert not arrive(published_store, version.contents(), ORDER).new
    assert before == snapshot(published_store.root)


def test_a_number_is_not_given_to_another_version(published_store: ModelStore, elsewhere: ModelStore) -> None:
    """Both digests are named, and nothing is changed."""
    before = snapshot(published_store.root)
    stranger = elsewhere.version("efsnet", "1")

    with pytest.raises(VersionTaken, match=f"copy is {stranger.digest}. Nothing was changed"):
        arrive(published_store, stranger.contents(), ORDER)

    assert before == snapshot(published_store.root)


def test_a_number_on_record_stays_with_its_version(
    published_store: ModelStore, elsewhere: ModelStore, version: Version
) -> None:
    """Where somebody has removed a promoted version, only that version comes back."""
    own, stranger = version.contents(), elsewhere.version("efsnet", "1").contents()
    shutil.rmtree(version.path)

    with pytest.raises(VersionTaken):
        arrive(published_store, stranger, ORDER)
    assert arrive(published_store, own, ORDER).new


def test_a_damaged_version_of_the_same_number_is_named(published_store: ModelStore, version: Version) -> None:
    """It is not taken for the copy, nor replaced in silence."""
    contents = version.contents()
    model = version.path / "model.onnx"
    model.chmod(0o644)
    model.write_bytes(b"x")

    with pytest.raises(DigestMismatch, match=r"model\.onnx"):
        arrive(published_store, contents, ORDER)


def test_broken_promotion_records_are_named(published_store: ModelStore, second: Version) -> None:
    """Without them nobody can say which numbers are taken."""
    (published_store.root / "efsnet" / "promotions" / "000001.json").unlink()
    (published_store.root / "efsnet" / "promotions" / "000002.json").write_bytes(b"{}")

    with pytest.raises(ChainBroken):
        arrive(published_store, second.contents(), ORDER)


def test_what_is_no_version_is_not_overwritten(published_store: ModelStore, second: Version) -> None:
    """A file in the place of the folder."""
    place = published_store.root / "efsnet" / "versions" / "2"
    place.write_bytes(b"")

    with pytest.raises(VersionTaken, match="move it away"):
        arrive(published_store, second.contents(), ORDER)


@dataclass(frozen=True)
class Overtaken(ModelStore):
    """A store whose first listing of numbers is older than what is in it."""

    listings: list[tuple[int, ...]]

    def numbers(self, name: str) -> tuple[int, ...]:
        return self.listings.pop(0) if self.listings else ModelStore.numbers(self, name)


def test_of_two_who_bring_the_same_version_both_succeed(published_store: ModelStore, version: Version) -> None:
    """The slower one finds it there."""
    store = Overtaken(published_store.root, [()])

    assert not arrive(store, version.contents(), ORDER).new


@pytest.mark.parametrize("path", ["manifest.json", "model.onnx", "reference/squares.png", "MODEL_CARD.md"])
@pytest.mark.parametrize("change", ["flipped", "cut off", "longer", "missing"])
def test_a_changed_file_is_refused(published_store: ModelStore, second: Version, path: str, change: str) -> None:
    """Whichever it is; the store stays as it was."""
    before = snapshot(published_store.root)
    contents = dict(second.contents())
    content = contents.pop(path)
    if change != "missing":
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        contents[path] = {"flipped": flipped, "cut off": content[:-1], "longer": content + b"\n"}[change]

    with pytest.raises(FileMissing if change == "missing" and path != MANIFEST else DigestMismatch):
        arrive(published_store, contents, ORDER)

    assert before == snapshot(published_store.root)


@pytest.mark.parametrize("path", ["more", "../../../outside", "/tmp/outside", "reference/../outside", "MODEL.ONNX", ""])  # noqa: S108 (never written)
def test_a_file_that_is_not_listed_is_refused(published_store: ModelStore, second: Version, path: str) -> None:
    """It is named and not written, wherever it would lie."""
    before = snapshot(published_store.root.parent)

    with pytest.raises(FileUnexpected) as refused:
        arrive(published_store, {**second.contents(), path: b"x"}, ORDER)

    assert repr(path) in str(refused.value)
    assert before == snapshot(published_store.root.parent)


def test_what_has_no_manifest_is_refused(published_store: ModelStore) -> None:
    """As damaged."""
    with pytest.raises(IntegrityError):
        arrive(published_store, {}, ORDER)


def test_another_model_than_was_ordered_is_refused(published_store: ModelStore, second: Version) -> None:
    """The name in the manifest counts."""
    with pytest.raises(CopyInvalid, match=r"efsnet 2, not of other\."):
        arrive(published_store, second.contents(), Order("other"))


def test_another_digest_than_was_ordered_is_refused(published_store: ModelStore, second: Version) -> None:
    """Intact as it may be."""
    assert arrive(published_store, second.contents(), Order("efsnet", second.digest)).new

    with pytest.raises(DigestMismatch, match=str(second.digest)):
        arrive(published_store, second.contents(), Order("efsnet", Digest.of(b"another")))


def test_a_signature_comes_along(tmp_path: Path, shipped: Version) -> None:
    """And is verified where somebody says whom to trust."""
    store = ModelStore(tmp_path / "store")

    arrival = arrive(store, shipped.contents(), Order("efsnet", signers=TrustedKeys.read(KEYS)))

    assert shipped.signature() == arrival.version.signature() != None  # noqa: E711 (a chain)


def test_only_trusted_signers_are_taken_from(
    published_store: ModelStore, shipped: Version, second: Version, tmp_path: Path
) -> None:
    """Nobody's, a stranger's and a wrong signature each have their own error."""
    stranger = TrustedKeys((generate(tmp_path / "stranger.pem"),))
    signature = shipped.contents()[SIGNATURE]

    with pytest.raises(Unsigned):
        arrive(published_store, second.contents(), Order("efsnet", signers=stranger))
    with pytest.raises(SignerUnknown):
        arrive(published_store, shipped.contents(), Order("efsnet", signers=stranger))
    signed = {**second.contents(), SIGNATURE: signature}
    with pytest.raises(SignatureInvalid):
        arrive(published_store, signed, Order("efsnet", signers=TrustedKeys.read(KEYS)))

    assert (1,) == published_store.numbers("efsnet")


def test_a_version_gets_the_signature_that_it_lacked(tmp_path: Path, shipped: Version) -> None:
    """One that it has already stays."""
    store = ModelStore(tmp_path / "store")
    signed = shipped.contents()
    unsigned = {path: content for path, content in signed.items() if path != SIGNATURE}
    arrive(store, unsigned, ORDER)

    assert arrive(store, signed, ORDER).new
    assert signed == store.version("efsnet", "2").contents()
    assert not arrive(store, {**signed, SIGNATURE: b"another"}, ORDER).new
    assert signed == store.version("efsnet", "2").contents()


def test_a_version_of_too_many_files_is_no_copy(version: Version) -> None:
    """What a manifest claims is bounded before anything is read."""
    many = {f"data/{number}": FileDigest(sha256="0" * 64, bytes=0) for number in range(FILES_MAX + 1)}

    with pytest.raises(CopyInvalid, match="1001 files"):
        limits(version.manifest.model_copy(update={"files": many}))


def test_a_version_of_too_many_bytes_is_no_copy(version: Version) -> None:
    """All its files together."""
    large = {name: FileDigest(sha256="0" * 64, bytes=CONTENT_MAX_BYTES // 2 + 1) for name in ("a", "b")}

    with pytest.raises(CopyInvalid, match="1073741826 bytes"):
        limits(version.manifest.model_copy(update={"files": large}))


def test_a_manifest_that_is_none_is_refused(published_store: ModelStore) -> None:
    """Whatever its seal says."""
    with pytest.raises((ManifestInvalid, DigestMismatch)):
        arrive(published_store, {MANIFEST: b"{}"}, ORDER)
