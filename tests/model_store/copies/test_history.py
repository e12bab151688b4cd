"""Promotions that are announced in a registry and followed by other stores, against a small one that does as told."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store.copies.arrival import Order
from model_store.copies.artifact import Blob
from model_store.copies.history import RECORD_TYPE, TAG, History, announce, follow
from model_store.copies.registry import Registry, connected
from model_store.copies.repository import Access, Repository
from model_store.digest import Digest
from model_store.errors import (
    ChainBroken,
    CopyInvalid,
    DigestMismatch,
    FileMissing,
    HistoryDiffers,
    PromotionsMissing,
    RegistryUnusable,
    SignerUnknown,
    Unsigned,
    VersionTaken,
    VersionUnknown,
)
from model_store.manifest import SIGNATURE
from model_store.promotions import Promotion
from model_store.seal import sealed
from model_store.signatures import RELEASE_KEYS, TrustedKeys
from model_store.signing import sign
from model_store.store import ModelStore
from tests.model_store.conftest import Publish, Signed
from tests.model_store.copies.registries import Contents, small_registry

ORDER = Order("efsnet")


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On the machine that runs the tests."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.fixture
def held() -> Contents:
    """What the registry holds: nothing yet."""
    return Contents()


@pytest.fixture
def registry(held: Contents) -> Iterator[Registry]:
    """That runs, connected."""
    with small_registry(held) as address, connected(Repository.parse(address), Access()) as registry:
        yield registry


@pytest.fixture
def ward(published_store: ModelStore, tmp_path: Path) -> ModelStore:
    """A store that begins as the one of which promotions are announced."""
    return ModelStore(shutil.copytree(published_store.root, tmp_path / "ward"))


@pytest.fixture
def announced(ward: ModelStore, published_store: ModelStore, publish: Publish, registry: Registry) -> ModelStore:
    """The store in which version 2 was promoted, which all is announced of."""
    publish()
    promote(published_store, 2)
    push(published_store, registry, 1, 2)
    announce(published_store, "efsnet", registry)
    return published_store


def promote(store: ModelStore, number: int, alias: str = "production") -> Promotion:
    """As an operator does."""
    return store.promote("efsnet", alias, number, by="an operator", why="it is better")


def push(store: ModelStore, registry: Registry, *numbers: int) -> None:
    """Versions."""
    for number in numbers:
        registry.push(store.version("efsnet", str(number)))


def records(store: ModelStore) -> list[bytes]:
    """As they are stored."""
    return [*store.log("efsnet").contents().values()]


def state(store: ModelStore) -> dict[str, bytes]:
    """Every file of a store."""
    return {str(path): path.read_bytes() for path in store.root.rglob("*") if path.is_file()}


def lie(held: Contents, contents: list[bytes]) -> None:
    """What somebody writes into the registry who knows how."""
    listed = History.of(contents)
    held.blobs |= {str(blob.digest): content for blob, content in zip(listed.layers, contents, strict=True)}
    held.manifests[TAG] = listed.model_dump_json(by_alias=True).encode()


def altered(record: bytes, **changes: object) -> bytes:
    """A record with other facts, sealed as one is."""
    facts = {**json.loads(record), **changes}
    del facts["seal"]
    return sealed(json.dumps(facts, indent=2) + "\n").encode()


def test_a_promotion_is_followed_with_its_version(announced: ModelStore, ward: ModelStore, registry: Registry) -> None:
    """The version is whole, and the record the same to the last byte."""
    [promotion] = follow(ward, registry, ORDER)

    assert ("production", 2) == (promotion.alias, promotion.version)
    assert records(announced) == records(ward)
    assert announced.version("efsnet", "2").contents() == ward.version("efsnet", "production").contents()


def test_an_empty_store_gets_the_whole_history(announced: ModelStore, registry: Registry, tmp_path: Path) -> None:
    """And of the versions those that are named now."""
    empty = ModelStore(tmp_path / "empty")

    assert 2 == len(follow(empty, registry, ORDER))
    assert records(announced) == records(empty)
    assert (2,) == empty.numbers("efsnet")


def test_what_was_followed_is_not_followed_again(
    announced: ModelStore, ward: ModelStore, registry: Registry, held: Contents
) -> None:
    """A look asks for the list alone, and changes nothing."""
    follow(ward, registry, ORDER)
    before = state(ward)
    held.requests.clear()

    assert () == follow(ward, registry, ORDER)
    assert [f"/v2/models/efsnet/manifests/{TAG}"] == [path for _, path, _ in held.requests]
    assert before == state(ward)


def test_records_come_in_their_order(
    announced: ModelStore, ward: ModelStore, registry: Registry, publish: Publish
) -> None:
    """Several at once, of several aliases: a promotion, its rollback, one that was withdrawn."""
    publish()
    promote(announced, 3, "candidate")
    promote(announced, 3)
    announced.rollback("efsnet", "production", by="an operator", why="it was not")
    announced.withdraw("efsnet", "candidate", by="an operator", why="it was not")
    announce(announced, "efsnet", registry)

    assert [2, 3, 4, 5, 6] == [promotion.number for promotion in follow(ward, registry, ORDER)]
    assert records(announced) == records(ward)
    assert announced.aliases("efsnet") == ward.aliases("efsnet") == {"production": 2}
    assert (1, 2) == ward.numbers("efsnet")


def test_a_rollback_needs_nothing_but_its_record(announced: ModelStore, ward: ModelStore, registry: Registry) -> None:
    """Its version is in the store."""
    follow(ward, registry, ORDER)
    announced.rollback("efsnet", "production", by="an operator", why="it was not better")
    assert 1 == announce(announced, "efsnet", registry)

    assert ["rollback"] == [promotion.action for promotion in follow(ward, registry, ORDER)]
    assert 1 == ward.version("efsnet", "production").number


def test_announcing_again_changes_nothing(announced: ModelStore, registry: Registry, held: Contents) -> None:
    """And says so; only the tag is written again."""
    before = dict(held.blobs), dict(held.manifests)

    assert 0 == announce(announced, "efsnet", registry)
    assert before == (held.blobs, held.manifests)


def test_announcing_again_brings_back_what_a_registry_has_lost(
    announced: ModelStore, ward: ModelStore, registry: Registry, held: Contents
) -> None:
    """Who follows is told which record."""
    del held.blobs[str(Digest.of(records(announced)[1]))]
    with pytest.raises(RegistryUnusable, match="has lost record 2: push or announce it again"):
        follow(ward, registry, ORDER)

    announce(announced, "efsnet", registry)
    assert 1 == len(follow(ward, registry, ORDER))


def test_a_version_is_pushed_before_its_promotion_is_announced(
    announced: ModelStore, registry: Registry, held: Contents, publish: Publish
) -> None:
    """Whichever alias names it."""
    publish()
    promote(announced, 3, "candidate")
    before = held.manifests[TAG]

    with pytest.raises(VersionUnknown, match="no version 3, which candidate names: `push 3` first"):
        announce(announced, "efsnet", registry)
    assert before == held.manifests[TAG]

    push(announced, registry, 3)
    assert 1 == announce(announced, "efsnet", registry)


def test_what_is_announced_is_the_version_that_was_pushed(
    elsewhere: ModelStore, registry: Registry, held: Contents
) -> None:
    """Not another one of this number."""
    promote(elsewhere, 2)
    push(elsewhere, registry, 1)
    held.manifests["2"] = held.manifests["1"]

    with pytest.raises(VersionTaken, match="models/efsnet:2 is sha256:"):
        announce(elsewhere, "efsnet", registry)


def test_nothing_is_announced_where_nothing_was_promoted(elsewhere: ModelStore, registry: Registry) -> None:
    """Such as in a store that only keeps copies."""
    with pytest.raises(PromotionsMissing, match="no promotions of efsnet to announce"):
        announce(elsewhere, "efsnet", registry)


def test_nothing_is_followed_where_nothing_is_announced(ward: ModelStore, registry: Registry) -> None:
    """It is told what to do."""
    with pytest.raises(PromotionsMissing, match="announced first"):
        follow(ward, registry, ORDER)


def test_a_longer_history_is_not_announced_away(announced: ModelStore, ward: ModelStore, registry: Registry) -> None:
    """By a store that was set back, or lags behind."""
    with pytest.raises(HistoryDiffers, match=r"has 1 promotion records in .*/ward, and 2 at 127\..*:promotions"):
        announce(ward, "efsnet", registry)


def test_another_history_is_neither_announced_nor_followed(
    announced: ModelStore, ward: ModelStore, registry: Registry, held: Contents
) -> None:
    """Both places are named, and both stay as they are."""
    promote(ward, 1, "mine")
    before = state(ward), dict(held.manifests), dict(held.blobs)

    for attempt in (lambda: announce(ward, "efsnet", registry), lambda: follow(ward, registry, ORDER)):
        with pytest.raises(HistoryDiffers, match=r"record 2 of efsnet is sha256:.* in .*/ward and .* at 127\..*apart"):
            attempt()

    assert before == (state(ward), held.manifests, held.blobs)


def test_a_registry_that_was_set_back_is_not_followed(
    announced: ModelStore, ward: ModelStore, registry: Registry, held: Contents
) -> None:
    """The newer record stays."""
    follow(ward, registry, ORDER)
    lie(held, records(announced)[:1])

    with pytest.raises(HistoryDiffers, match="has 2 promotion records"):
        follow(ward, registry, ORDER)
    assert records(announced) == records(ward)


def test_a_version_that_is_not_there_is_waited_for(
    announced: ModelStore, ward: ModelStore, registry: Registry, held: Contents
) -> None:
    """Without it, its promotion does not come."""
    away = held.manifests.pop("2")
    before = state(ward)
    with pytest.raises(VersionUnknown, match="has no version 2"):
        follow(ward, registry, ORDER)
    assert before == state(ward)

    held.manifests["2"] = away
    assert 1 == len(follow(ward, registry, ORDER))


def test_a_version_that_is_gone_comes_again(announced: ModelStore, ward: ModelStore, registry: Registry) -> None:
    """Such as a damaged one that somebody has moved away; its promotion is there already."""
    follow(ward, registry, ORDER)
    shutil.rmtree(ward.version("efsnet", "2").path)

    assert () == follow(ward, registry, ORDER)
    assert announced.version("efsnet", "2").contents() == ward.version("efsnet", "2").contents()


def test_a_damaged_version_is_not_promoted(announced: ModelStore, ward: ModelStore, registry: Registry) -> None:
    """Although the store has it already."""
    shutil.copytree(announced.version("efsnet", "2").path, ward.root / "efsnet/versions/2")
    (ward.root / "efsnet/versions/2/model.onnx").unlink()

    with pytest.raises(FileMissing, match=r"efsnet 2: model\.onnx"):
        follow(ward, registry, ORDER)
    assert 1 == len(records(ward))


def test_a_version_of_nobody_who_is_trusted_is_not_promoted(
    announced: ModelStore, ward: ModelStore, registry: Registry, signed: Signed
) -> None:
    """Unsigned at first; then signed and pushed again, which is enough; and not for who trusts others."""
    with pytest.raises(Unsigned):
        follow(ward, registry, Order("efsnet", signers=signed.trusted))
    assert ((1,), 1) == (ward.numbers("efsnet"), len(records(ward)))

    sign(announced.version("efsnet", "2"), signed.private_key)
    push(announced, registry, 2)
    with pytest.raises(SignerUnknown):
        follow(ward, registry, Order("efsnet", signers=TrustedKeys.read(RELEASE_KEYS)))
    assert 1 == len(follow(ward, registry, Order("efsnet", signers=signed.trusted)))


def test_a_signature_that_the_store_lacked_comes_with_the_promotion(
    announced: ModelStore, ward: ModelStore, registry: Registry, signed: Signed
) -> None:
    """Where one is asked for."""
    shutil.copytree(announced.version("efsnet", "2").path, ward.root / "efsnet/versions/2")
    sign(announced.version("efsnet", "2"), signed.private_key)
    push(announced, registry, 2)

    assert 1 == len(follow(ward, registry, Order("efsnet", signers=signed.trusted)))
    assert (ward.root / "efsnet/versions/2" / SIGNATURE).exists()


def test_a_record_of_another_version_is_refused(
    announced: ModelStore, ward: ModelStore, registry: Registry, held: Contents
) -> None:
    """Its digest is not that of what is under the number."""
    first, second = records(announced)
    lie(held, [first, altered(second, digest=str(Digest.of(b"another")))])

    with pytest.raises(DigestMismatch, match="efsnet 2 has the digest"):
        follow(ward, registry, ORDER)
    assert ((1,), 1) == (ward.numbers("efsnet"), len(records(ward)))


@pytest.mark.parametrize("changes", [{"number": 3}, {"previous": None}, {"previous": str(Digest.of(b""))}, {"x": 1}])
def test_a_record_that_does_not_follow_is_refused(
    announced: ModelStore, ward: ModelStore, registry: Registry, held: Contents, changes: dict[str, object]
) -> None:
    """Though it is sealed and listed as one that does."""
    first, second = records(announced)
    lie(held, [first, altered(second, **changes)])
    before = state(ward)

    with pytest.raises(ChainBroken, match=f":{TAG}: "):
        follow(ward, registry, ORDER)
    assert before == state(ward)


def test_a_record_that_was_changed_is_refused(
    announced: ModelStore, ward: ModelStore, registry: Registry, held: Contents
) -> None:
    """On the registry's disk; it comes when it is repaired."""
    content = records(announced)[1]
    held.blobs[str(Digest.of(content))] = content.replace(b"better", b"bitter")
    with pytest.raises(DigestMismatch, match=f":{TAG}: record 2 is not what was pushed"):
        follow(ward, registry, ORDER)
    assert 1 == len(records(ward))

    held.blobs[str(Digest.of(content))] = content
    assert 1 == len(follow(ward, registry, ORDER))


def listing(*sizes: int, **changes: object) -> bytes:
    """Of records of these sizes in bytes, which are nowhere."""
    records = tuple(Blob(media_type=RECORD_TYPE, digest=Digest.of(b""), size=size) for size in sizes)
    return (
        History(config=records[-1], layers=records).model_copy(update=changes).model_dump_json(by_alias=True).encode()
    )


@pytest.mark.parametrize(
    "listed",
    [
        b"",
        b" " * 4_000_001,
        b'{"schemaVersion": 2, "manifests": []}',
        listing(500, artifact_type=None),
        listing(500, layers=()),
        listing(500, config=Blob(media_type=RECORD_TYPE, digest=Digest.of(b"x"), size=1)),
        listing(500, 50_001),
        listing(*[1] * 10_001),
        listing(*[50_000] * 1001),
    ],
    ids=range(9),
)
def test_what_is_no_history_is_refused(ward: ModelStore, registry: Registry, held: Contents, listed: bytes) -> None:
    """By its list: it is too long, of something else, or of too many or too large records."""
    held.manifests[TAG] = listed

    with pytest.raises(CopyInvalid, match=f"models/efsnet:{TAG}"):
        follow(ward, registry, ORDER)
    assert not any("/blobs/" in path for _, path, _ in held.requests)


def test_no_more_is_announced_than_is_followed() -> None:
    """Who announces is told, and not who follows."""
    with pytest.raises(CopyInvalid, match="10000 records"):
        History.of([b"x"] * 10_001)


def test_what_somebody_else_writes_meanwhile_stays(announced: ModelStore, ward: ModelStore, registry: Registry) -> None:
    """Nothing is added behind it: the next look finds out what it is."""
    assert 1 == ward.log("efsnet").extend(1, [b"something else"])
    before = state(ward)

    assert 0 == ward.log("efsnet").extend(1, records(announced)[1:])
    assert before == state(ward)
