"""An audit: the records, what they name, and what is odd about them."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_store.audit import examine
from model_store.digest import Digest
from model_store.errors import ChainBroken, DigestMismatch, IntegrityError, ModelUnknown, SignatureInvalid
from model_store.promotions import Promotion
from model_store.signatures import SignaturePolicy, Trust
from model_store.store import ModelStore
from model_store.version import Version
from tests.model_store.conftest import Signed

Publish = Callable[[], Version]


def promote(store: ModelStore, *numbers: int) -> None:
    """One version after the other."""
    for number in numbers:
        store.promote("efsnet", "production", number, by="the tests", why="to see")


def record_file(store: ModelStore, number: int) -> Path:
    """Where a record lies."""
    return store.root / "efsnet" / "promotions" / f"{number:06d}.json"


def dated(store: ModelStore, by: timedelta) -> None:
    """Writes one record more, on a computer whose clock is wrong by so much."""
    newest = record_file(store, 2)
    record = store.promotions("efsnet")[-1].model_copy(
        update={
            "number": 3,
            "at": datetime.now(UTC).replace(microsecond=0) + by,
            "previous": Digest.of(newest.read_bytes()),
        }
    )
    record_file(store, 3).write_text(str(Promotion.model_validate(record)))


def test_nothing_is_wrong_with_what_was_done_properly(published_store: ModelStore, publish: Publish) -> None:
    """All records, and the digest of the newest file as `sha256sum` gives it."""
    promote(published_store, publish().number)

    found = examine(published_store, "efsnet")

    assert published_store.promotions("efsnet") == found.records
    assert Digest.of(record_file(published_store, 2).read_bytes()) == found.newest
    assert ((), ()) == (found.damage, found.remarks)


def test_a_model_without_promotions_has_none(published_store: ModelStore) -> None:
    """No record is no damage; no model is an error."""
    shutil.rmtree(published_store.root / "efsnet" / "promotions")

    assert None is examine(published_store, "efsnet").newest
    with pytest.raises(ModelUnknown):
        examine(published_store, "other")


def test_a_damaged_version_of_the_past_is_found(published_store: ModelStore, publish: Publish) -> None:
    """Somebody will ask which weights drew a mask of then."""
    promote(published_store, publish().number)
    model = published_store.root / "efsnet" / "versions" / "1" / "model.onnx"
    model.chmod(0o644)
    model.write_bytes(b"x")

    (error,) = examine(published_store, "efsnet").damage

    assert isinstance(error, DigestMismatch)
    assert "efsnet 1: model.onnx" in str(error)


def test_a_removed_version_is_remarked(published_store: ModelStore, publish: Publish) -> None:
    """To make room is no damage, but an auditor wants to know."""
    promote(published_store, publish().number)
    shutil.rmtree(published_store.root / "efsnet" / "versions" / "1")

    assert ("efsnet 1 was promoted, and is no longer in the store.",) == examine(published_store, "efsnet").remarks


@pytest.mark.parametrize(
    ("by", "remarks"),
    [
        (timedelta(0), 0),
        (timedelta(days=3000), 0),
        (timedelta(days=-3000), 2),
    ],
)
def test_a_wrong_clock_is_remarked_and_loses_nothing(published_store: ModelStore, by: timedelta, remarks: int) -> None:
    """The order is that of the numbers. A clock that is ahead shows at the next record."""
    promote(published_store, 1)
    dated(published_store, by)

    found = examine(published_store, "efsnet")
    assert remarks == sum("a clock was wrong" in remark for remark in found.remarks)
    assert 3 == len(found.records)

    promote(published_store, 1)
    assert 4 == len(published_store.promotions("efsnet"))
    assert (by > timedelta(0)) == any("before record 3" in each for each in examine(published_store, "efsnet").remarks)


def test_a_store_that_was_set_back_is_found_by_what_was_noted(published_store: ModelStore) -> None:
    """A copy of last week is whole in itself; only a digest that was noted elsewhere tells."""
    promote(published_store, 1, 1)
    noted = examine(published_store, "efsnet").newest
    assert noted
    promote(published_store, 1)
    assert 4 == len(examine(published_store, "efsnet", noted=noted).records)

    for number in (3, 4):
        record_file(published_store, number).unlink()

    assert () == examine(published_store, "efsnet").damage
    with pytest.raises(ChainBroken, match="set back, or written anew"):
        examine(published_store, "efsnet", noted=noted)


def test_a_chain_that_was_written_anew_is_found_by_what_was_noted(published_store: ModelStore) -> None:
    """Who may write to the store can make every record again, with another name in it."""
    noted = examine(published_store, "efsnet").newest
    shutil.rmtree(published_store.root / "efsnet" / "promotions")
    published_store.promote("efsnet", "production", 1, by="somebody else", why="the first")

    assert () == examine(published_store, "efsnet").damage
    with pytest.raises(ChainBroken, match="written anew"):
        examine(published_store, "efsnet", noted=noted)


def test_a_broken_chain_is_an_error(published_store: ModelStore) -> None:
    """It is told before anything else is looked at."""
    promote(published_store, 1)
    first = record_file(published_store, 1)
    content = json.loads(first.read_bytes())
    first.unlink()
    first.write_text(json.dumps(content))

    with pytest.raises(ChainBroken, match=r"000001\.json"):
        examine(published_store, "efsnet")


def test_a_signature_that_is_worthless_is_damage(signed: Signed) -> None:
    """Of whichever version was ever promoted, and whoever is trusted; who trusts nobody does not look."""
    trust = Trust("warn", signed.trusted)
    assert ((), ()) == _found(signed, trust)
    signed.file.unlink()
    signed.file.write_bytes(b"garbage")

    (damage,), _ = _found(signed, trust)
    assert isinstance(damage, SignatureInvalid)
    assert ((), ()) == _found(signed, Trust())


@pytest.mark.parametrize(("policy", "damaged"), [("warn", 0), ("require", 1)])
def test_a_version_that_nobody_vouches_for_is_told(signed: Signed, policy: SignaturePolicy, damaged: int) -> None:
    """As damage, where a signature is asked for."""
    signed.file.unlink()

    damage, remarks = _found(signed, Trust(policy, signed.trusted))

    assert (damaged, 1 - damaged) == (len(damage), len(remarks))
    assert "efsnet 1 is not signed" in str((*damage, *remarks)[0])


def _found(signed: Signed, trust: Trust) -> tuple[tuple[IntegrityError, ...], tuple[str, ...]]:
    found = examine(signed.store, "efsnet", trust=trust)
    return found.damage, found.remarks
