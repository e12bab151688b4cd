"""Promotion records: a chain in which nothing can be changed, left out or put in."""

import json
import os
import shutil
import time
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store import files
from model_store.digest import Digest
from model_store.errors import ChainBroken
from model_store.promotions import Decision, Forced, Promotion, PromotionLog, continued, standing
from model_store.seal import sealed

PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)
digests = st.binary(max_size=8).map(Digest.of)
promotions = st.builds(
    Promotion,
    action=st.sampled_from(["promote", "rollback", "withdraw"]),
    alias=st.sampled_from(["production", "candidate", "a-b_9"]),
    version=st.integers(1, 999_999_999),
    digest=digests,
    by=PRINTABLE,
    why=PRINTABLE,
    number=st.integers(1, 999_999),
    at=st.datetimes(timezones=st.just(UTC)),
    previous=st.none() | digests,
)


@given(promotions)
def test_a_promotion_is_read_as_it_is_written(promotion: Promotion) -> None:
    """`Promotion.parse(str(p)) == p`."""
    assert promotion == Promotion.parse(str(promotion))


@given(st.lists(promotions, max_size=8))
def test_an_alias_names_what_its_newest_record_says_whatever_the_history(history: list[Promotion]) -> None:
    """Also if the records are not such as this release writes."""
    newest = {promotion.alias: promotion for promotion in history}

    for alias, promotion in newest.items():
        names = [] if promotion.action == "withdraw" else [promotion.version]
        assert names == [left.version for left in standing(history, alias)[-1:]]


def decision(version: int = 1) -> Decision:
    """That `production` be this version."""
    digest = Digest.of(str(version).encode())
    return Decision(action="promote", alias="production", version=version, digest=digest, by="x", why="y")


@pytest.fixture
def log(tmp_path: Path) -> PromotionLog:
    """Of three records."""
    log = PromotionLog(tmp_path / "promotions")
    for version in (1, 2, 3):
        log.append(log.read(), decision(version))
    return log


def test_each_record_holds_the_digest_of_the_one_before(log: PromotionLog) -> None:
    """As `sha256sum` gives it for the file."""
    contents = log.contents()

    assert ["000001.json", "000002.json", "000003.json"] == list(contents)
    for before, after in (("000001.json", "000002.json"), ("000002.json", "000003.json")):
        assert str(Digest.of(contents[before])) == json.loads(contents[after])["previous"]


def test_a_number_is_written_once(log: PromotionLog) -> None:
    """Of two who have seen the same records, the second is told so."""
    seen = log.read()

    assert log.append(seen, decision())
    assert None is log.append(seen, decision())
    assert 4 == len(log.read())


def test_other_files_are_passed_over(log: PromotionLog) -> None:
    """Notes, temporary folders and other numbers are no records."""
    for name in ("README.md", ".tmp-1", "4.json", "000004.json.bak", "00004.json"):
        (log.folder / name).write_bytes(b"")

    assert 3 == len(log.read())


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.requirement("VER-3")
def test_any_changed_byte_of_a_record_is_found_and_named(log: PromotionLog, number: int) -> None:
    """The newest record's too, lest a damaged name of an alias bring back an older version."""
    path = log.folder / f"00000{number}.json"
    content = path.read_bytes()
    path.chmod(0o644)
    for place in range(0, len(content), 11):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ChainBroken, match=rf"00000{number}\.json"):
            log.read()


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.requirement("VER-3")
def test_a_missing_record_is_found(log: PromotionLog, number: int) -> None:
    """And named."""
    (log.folder / f"00000{number}.json").unlink()

    with pytest.raises(ChainBroken, match=rf"00000{number}\.json is missing"):
        log.read()


def test_a_copied_record_is_found(log: PromotionLog) -> None:
    """An old decision does not come again under a new number."""
    shutil.copy(log.folder / "000002.json", log.folder / "000004.json")

    with pytest.raises(ChainBroken, match=r"000004\.json"):
        log.read()


def test_a_rewritten_record_is_found(log: PromotionLog) -> None:
    """The record after it has the digest of the one that was there."""
    path = log.folder / "000002.json"
    rewritten = Promotion.parse(path.read_bytes()).model_copy(update={"why": "another reason"})
    path.unlink()
    path.write_text(str(rewritten))

    with pytest.raises(ChainBroken, match=r"000003\.json does not follow"):
        log.read()


def test_a_record_of_another_kind_breaks_the_chain(log: PromotionLog) -> None:
    """A seal alone makes no promotion."""
    (log.folder / "000004.json").write_text(sealed('{\n  "number": 4\n}\n'))

    with pytest.raises(ChainBroken, match=r"000004\.json: This is no promotion record"):
        log.read()


class OldListing(type(Path())):  # type: ignore[misc]
    """A folder whose list is that of another, as a network may give it: older than the files in it."""

    listed: Path

    def __fspath__(self) -> str:
        return str(self.listed)

    def __truediv__(self, name: object) -> Path:
        return Path(str(self)) / str(name)


def test_records_are_found_that_an_old_list_lacks(log: PromotionLog, tmp_path: Path) -> None:
    """Each next one is asked for by its name: nobody acts on a state that has passed."""
    (tmp_path / "older").mkdir()
    folder = OldListing(log.folder)
    folder.listed = tmp_path / "older"
    assert () == files.entries(folder)

    assert log.read() == PromotionLog(folder).read()


def test_a_reason_to_overrule_the_gate_is_in_the_record_where_there_is_one(log: PromotionLog) -> None:
    """Records without one are as they ever were, so that older releases read them."""
    forced = decision().model_copy(update={"forced": Forced(because="it must be", against="it is worse")})
    promotion = log.append(log.read(), forced)

    assert promotion == log.read()[-1]
    assert ["forced" in json.loads(content) for content in log.contents().values()] == [False, False, False, True]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"null", b"x" * 1_000_000])
def test_what_is_no_record_breaks_the_chain(log: PromotionLog, content: bytes) -> None:
    """In the newest place too."""
    (log.folder / "000004.json").write_bytes(content)

    with pytest.raises(ChainBroken, match=r"000004\.json"):
        log.read()


@pytest.fixture
def remembering(log: PromotionLog) -> PromotionLog:
    """The same records, which have been read, by who takes any for settled."""
    remembering = PromotionLog(log.folder, settled_s=0)
    remembering.read()
    time.sleep(0.02)  # more than the grain of a file system's clock
    return remembering


def test_a_record_is_read_once(remembering: PromotionLog) -> None:
    """However often all are asked for, and though others were added."""
    before = remembering.read()
    remembering.append(before, decision())

    after = remembering.read()
    assert [True] * 3 == [one is other for one, other in zip(before, after[:3], strict=True)]
    assert 4 == len(after)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_record_that_was_read_is_still_watched(remembering: PromotionLog, number: int) -> None:
    """A byte that is changed later is found, whatever the file's time is set to, and so is a record that goes."""
    path = remembering.folder / f"00000{number}.json"
    content, status = path.read_bytes(), path.stat()
    path.chmod(0o644)
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ChainBroken, match=rf"00000{number}\.json"):
        remembering.read()

    path.write_bytes(content)
    assert 3 == len(remembering.read())


def test_another_chain_in_its_place_is_found(remembering: PromotionLog, tmp_path: Path) -> None:
    """Whole in itself or not: what is known of a record is of that very file."""
    other = PromotionLog(tmp_path / "other")
    for version in (7, 8, 9):
        other.append(other.read(), decision(version))
    shutil.copy(other.folder / "000002.json", remembering.folder / "new")
    (remembering.folder / "new").rename(remembering.folder / "000002.json")
    with pytest.raises(ChainBroken, match=r"000002\.json does not follow"):
        remembering.read()

    shutil.rmtree(remembering.folder)
    other.folder.rename(remembering.folder)
    assert [7, 8, 9] == [promotion.version for promotion in remembering.read()]


def test_a_young_record_is_read_again(log: PromotionLog) -> None:
    """Two changes within a tick of the file system's clock look like one."""
    assert log.read()[0] is not log.read()[0]


def test_records_from_elsewhere_give_a_version_one_digest(tmp_path: Path) -> None:
    """A store in which two records contradict each other could not load it."""
    other = PromotionLog(tmp_path / "other")
    other.append((), decision(1))
    other.append(other.read(), decision(1).model_copy(update={"digest": Digest.of(b"another")}))
    first, second = other.contents().values()

    for seen, rest in (((), [first, second]), (continued((), [first]), [second])):
        with pytest.raises(ChainBroken, match="another version 1 than an earlier record"):
            continued(seen, rest)
