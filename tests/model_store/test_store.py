"""The store: what is published stays, and is found by number, alias and digest."""

import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from model_store.errors import (
    AliasUnknown,
    ChainBroken,
    DigestMismatch,
    DraftInvalid,
    FileMissing,
    FileUnexpected,
    IntegrityError,
    ManifestInvalid,
    ModelUnknown,
    NothingToRollBack,
    PromotionConflict,
    PromotionInvalid,
    StoreUnusable,
    VersionUnknown,
)
from model_store.manifest import Draft, Manifest
from model_store.store import ModelStore
from model_store.version import Version

Publish = Callable[[], Version]


def promote(store: ModelStore, *numbers: int, alias: str = "production") -> None:
    """Promotes one version after the other."""
    for number in numbers:
        store.promote("efsnet", alias, number, by="a tester", why="it is better")


def roll_back(store: ModelStore) -> int:
    """Rolls back `production` and tells the version that it names then."""
    store.rollback("efsnet", "production", by="a tester", why="it is worse")
    return store.version("efsnet", "production").number


# ---------------------------------------------------------------------------- publishing and finding


def test_a_store_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    """Looking makes no folders."""
    store = ModelStore(tmp_path / "none")

    assert () == store.names()
    assert () == store.numbers("efsnet")
    assert not store.root.exists()


def test_versions_are_numbered_from_one(published_store: ModelStore, publish: Publish) -> None:
    """Each publication takes the next number."""
    assert 2 == publish().number
    assert 3 == publish().number
    assert (1, 2, 3) == published_store.numbers("efsnet")
    assert [1, 2, 3] == [version.number for version in published_store.versions("efsnet")]
    assert ("efsnet",) == published_store.names()


def test_a_published_version_is_what_its_maker_gave(
    version: Version, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """The draft is in the manifest, and each file has its content."""
    assert tiny_draft == Draft.model_validate({name: getattr(version.manifest, name) for name in Draft.model_fields})
    assert tiny_contents == {path: version.read(path) for path in version.manifest.files}
    assert () == version.damage()


def test_the_manifest_of_a_version_can_be_published_again(
    published_store: ModelStore, version: Version, tiny_contents: Mapping[str, bytes]
) -> None:
    """A manifest is a draft too; the new version has its own number."""
    assert 2 == published_store.publish("efsnet", version.manifest, tiny_contents).manifest.version


@pytest.mark.requirement("VER-1")
def test_published_files_are_read_only(version: Version) -> None:
    """Nobody overwrites them by accident."""
    modes = [stat.S_IMODE(path.stat().st_mode) for path in version.path.rglob("*") if path.is_file()]

    assert 5 == len(modes)
    assert not any(mode & 0o222 for mode in modes)


def test_nothing_temporary_is_left(published_store: ModelStore, publish: Publish) -> None:
    """The store's folders hold versions and records only."""
    publish()

    assert [] == list(published_store.root.rglob(".*"))


def test_a_version_is_found_by_number_alias_and_digest(published_store: ModelStore, publish: Publish) -> None:
    """The three references are of one version."""
    second = publish()
    promote(published_store, 2, alias="candidate")

    for reference in ("2", "candidate", str(second.digest)):
        assert second == published_store.version("efsnet", reference)


@pytest.mark.parametrize(
    "reference",
    ["2", "0", "01", "-1", "1.0", "9999999999", "", "latest!", "../1", "1\n", "sha256:", "sha256:" + "0" * 64],
)
def test_no_other_reference_finds_a_version(published_store: ModelStore, reference: str) -> None:
    """A part of a digest is no name, nor is a number written otherwise."""
    with pytest.raises(VersionUnknown):
        published_store.version("efsnet", reference)


def test_part_of_a_digest_is_no_reference(published_store: ModelStore, version: Version) -> None:
    """It could become ambiguous later."""
    with pytest.raises(VersionUnknown):
        published_store.version("efsnet", version.digest.short)


def test_an_alias_without_promotion_is_unknown(published_store: ModelStore) -> None:
    """No alias exists by itself, and none means the highest number."""
    for alias in ("latest", "staging"):
        with pytest.raises(AliasUnknown, match=alias):
            published_store.version("efsnet", alias)


@pytest.mark.parametrize("name", ["other", "../efsnet", "/", "", ".", "..", "Efsnet", "a/b", "efsnet\0"])
def test_an_unknown_model_is_named_as_such(published_store: ModelStore, name: str) -> None:
    """Whatever a name holds, nothing outside the store is looked at."""
    with pytest.raises(ModelUnknown):
        published_store.version(name, "1")


def test_a_model_of_an_impossible_name_is_not_published(
    published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """The name becomes a folder."""
    with pytest.raises(ModelUnknown, match="lower case"):
        published_store.publish("../elsewhere", tiny_draft, tiny_contents)


def test_what_is_no_version_is_not_published(published_store: ModelStore, tiny_draft: Draft) -> None:
    """A draft without a model leaves no trace."""
    with pytest.raises(DraftInvalid):
        published_store.publish("efsnet", tiny_draft, {})

    assert (1,) == published_store.numbers("efsnet")


def test_strangers_among_the_versions_are_no_versions(published_store: ModelStore, version: Version) -> None:
    """Files, links, and folders of other names are passed over, and their numbers are not taken."""
    versions = version.path.parent
    (versions / "notes").mkdir()
    (versions / ".tmp-1").mkdir()
    (versions / "2").write_bytes(b"")
    (versions / "4").symlink_to(version.path)
    (published_store.root / "README").write_bytes(b"")
    (published_store.root / "empty").mkdir()

    assert (1,) == published_store.numbers("efsnet")
    assert ("efsnet",) == published_store.names()


def test_the_next_number_is_beyond_whatever_is_in_the_way(published_store: ModelStore, publish: Publish) -> None:
    """A file called 2 stays where it is."""
    (published_store.root / "efsnet" / "versions" / "2").write_bytes(b"")

    assert 3 == publish().number


def test_the_number_of_a_promoted_version_is_never_given_again(published_store: ModelStore, publish: Publish) -> None:
    """Records of the past keep their meaning when somebody has removed a version."""
    promote(published_store, publish().number)
    shutil.rmtree(published_store.root / "efsnet" / "versions" / "2")

    assert 3 == publish().number


@dataclass(frozen=True)
class Overtaken(ModelStore):
    """A store in which another publisher is quicker, so often as its list of numbers says."""

    numbers_seen: list[int]

    def _next_number(self, name: str) -> int:
        return self.numbers_seen.pop(0) if self.numbers_seen else ModelStore._next_number(self, name)


def test_the_slower_of_two_publishers_takes_the_next_number(
    published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """Its manifest carries the number that it got, not the one that it wanted."""
    store = Overtaken(published_store.root, [1, 1])

    version = store.publish("efsnet", tiny_draft, tiny_contents)

    assert 2 == version.number == version.manifest.version
    assert () == version.damage()


def test_a_store_that_cannot_be_written_to_says_so(
    tmp_path: Path, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """A file where the store should be is one error of ours, with the path and the system's words."""
    (tmp_path / "store").write_bytes(b"")

    with pytest.raises(StoreUnusable, match="store: File exists"):
        ModelStore(tmp_path / "store").publish("efsnet", tiny_draft, tiny_contents)


# ---------------------------------------------------------------------------- promotions


def test_a_promotion_is_on_the_record(published_store: ModelStore, publish: Publish) -> None:
    """Alias, version with its digest, who, why and when; the first record has none before it."""
    second = publish()
    promotion = published_store.promote("efsnet", "production", 2, by=" Dr. Who ", why="better on small lesions")

    assert promotion == published_store.promotions("efsnet")[-1]
    assert (2, "promote", "production", 2) == (
        promotion.number,
        promotion.action,
        promotion.alias,
        promotion.version,
    )
    assert ("Dr. Who", "better on small lesions", second.digest) == (promotion.by, promotion.why, promotion.digest)
    assert None is published_store.promotions("efsnet")[0].previous


def test_an_alias_names_what_its_newest_record_says(published_store: ModelStore, publish: Publish) -> None:
    """Aliases do not disturb one another."""
    publish()
    publish()
    promote(published_store, 3, 2)
    promote(published_store, 3, alias="candidate")

    assert {"production": 2, "candidate": 3} == published_store.aliases("efsnet")


def test_the_expected_version_is_compared_before_it_is_set(published_store: ModelStore, publish: Publish) -> None:
    """Who decided with an old state in mind changes nothing."""
    publish()
    for expected in (2, None):
        with pytest.raises(PromotionConflict, match="production names 1"):
            published_store.promote("efsnet", "production", 2, by="x", why="y", expected_current=expected)
    assert 1 == len(published_store.promotions("efsnet"))

    published_store.promote("efsnet", "production", 2, by="x", why="y", expected_current=1)
    published_store.promote("efsnet", "candidate", 2, by="x", why="y", expected_current=None)

    assert {"production": 2, "candidate": 2} == published_store.aliases("efsnet")


def test_an_expectation_of_an_unset_alias_is_a_conflict(published_store: ModelStore) -> None:
    """The message says that it names nothing."""
    with pytest.raises(PromotionConflict, match="candidate names nothing, not 1"):
        published_store.promote("efsnet", "candidate", 1, by="x", why="y", expected_current=1)


def test_a_list_of_versions_that_stays_old_stops_no_publisher(
    published_store: ModelStore, publish: Publish, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """On a network it may be given again for a while: each try is for a number further on."""
    publish()
    store = Overtaken(published_store.root, [1, 1, 1, 1])

    assert 3 == store.publish("efsnet", tiny_draft, tiny_contents).number
    assert 1 == len(store.numbers_seen)


@dataclass(frozen=True)
class Interrupted(ModelStore):
    """A store in which somebody else promotes version 2 just before the first record is written."""

    done: list[bool]

    def _version(self, name: str, number: int, promotions: object) -> Version:
        version = ModelStore._version(self, name, number, ModelStore(self.root).promotions(name))
        if not self.done:
            self.done.append(True)
            ModelStore(self.root).promote(name, "production", 2, by="somebody else", why="quicker")
        return version


def test_a_record_written_meanwhile_is_taken_into_account(published_store: ModelStore, publish: Publish) -> None:
    """Without an expectation the later promotion comes after it; with one, it is a conflict."""
    publish()

    promotion = Interrupted(published_store.root, []).promote("efsnet", "production", 1, by="x", why="y")
    assert 3 == promotion.number
    assert {"production": 1} == published_store.aliases("efsnet")

    with pytest.raises(PromotionConflict, match="production names 2"):
        Interrupted(published_store.root, []).promote("efsnet", "production", 1, by="x", why="y", expected_current=1)


@pytest.mark.parametrize(
    ("alias", "by", "why"),
    [
        ("production", "", "y"),
        ("production", "x", "  "),
        ("production", "x", "\x1b[2J"),
        ("production", "x", "y" * 2001),
        ("3", "x", "y"),
        ("../x", "x", "y"),
        ("Production", "x", "y"),
    ],
)
def test_a_promotion_by_nobody_or_for_nothing_is_refused(
    published_store: ModelStore, alias: str, by: str, why: str
) -> None:
    """Who and why are one line of text each; an alias is never taken for a number."""
    with pytest.raises(PromotionInvalid):
        published_store.promote("efsnet", alias, 1, by=by, why=why)


@pytest.mark.parametrize(("name", "number"), [("efsnet", 2), ("efsnet", 0), ("efsnet", -1), ("other", 1)])
def test_what_is_not_published_is_not_promoted(published_store: ModelStore, name: str, number: int) -> None:
    """An alias always names a version that was there."""
    with pytest.raises((VersionUnknown, ModelUnknown)):
        published_store.promote(name, "production", number, by="x", why="y")


def test_a_damaged_version_is_not_promoted(published_store: ModelStore, publish: Publish) -> None:
    """Its files are hashed first."""
    damage(publish().path / "model.onnx")

    with pytest.raises(DigestMismatch, match=r"model\.onnx"):
        promote(published_store, 2)
    assert {"production": 1} == published_store.aliases("efsnet")


def test_rolling_back_undoes_promotions_one_after_the_other(published_store: ModelStore, publish: Publish) -> None:
    """What was rolled back from does not come back by rolling back again."""
    publish()
    publish()
    promote(published_store, 2, 3)

    assert 2 == roll_back(published_store)
    assert 1 == roll_back(published_store)
    with pytest.raises(NothingToRollBack):
        roll_back(published_store)
    assert ["promote", "promote", "promote", "rollback", "rollback"] == [
        promotion.action for promotion in published_store.promotions("efsnet")
    ]


def test_a_rollback_that_is_asked_for_twice_undoes_one_promotion(published_store: ModelStore, publish: Publish) -> None:
    """Who says what he takes the alias to name is told if somebody was faster."""
    publish()
    promote(published_store, 2)
    published_store.rollback("efsnet", "production", by="x", why="y", expected_current=2)

    with pytest.raises(PromotionConflict, match="names 1, not 2"):
        published_store.rollback("efsnet", "production", by="x", why="y", expected_current=2)


def test_a_promotion_after_a_rollback_starts_from_there(published_store: ModelStore, publish: Publish) -> None:
    """1, 2, back to 1, 3: what 3 replaced was 1."""
    publish()
    publish()
    promote(published_store, 2)
    roll_back(published_store)
    promote(published_store, 3)

    assert 1 == roll_back(published_store)


def test_promoting_the_same_version_again_is_one_step(published_store: ModelStore, publish: Publish) -> None:
    """Rolling back leads to another version always."""
    publish()
    promote(published_store, 2, 2)

    assert 1 == roll_back(published_store)


def test_an_alias_without_a_past_cannot_be_rolled_back(published_store: ModelStore) -> None:
    """Neither the first promotion of an alias nor one that never was."""
    for alias in ("production", "candidate"):
        with pytest.raises(NothingToRollBack, match=alias):
            published_store.rollback("efsnet", alias, by="x", why="y")


# ---------------------------------------------------------------------------- damage


def damage(path: Path) -> None:
    """Flips one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.parametrize("reference", ["1", "production"])
def test_a_changed_byte_of_the_manifest_is_found_whatever_the_reference(
    published_store: ModelStore, version: Version, reference: str
) -> None:
    """Bytes from the first to the last are flipped, and the error names the version and its manifest."""
    path = version.path / "manifest.json"
    path.chmod(0o644)
    content = path.read_bytes()
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(IntegrityError, match=r"efsnet 1: manifest\.json"):
            published_store.version("efsnet", reference)


def test_another_manifest_under_a_promoted_number_is_found(
    published_store: ModelStore, version: Version, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """A whole version that was exchanged is not the one on the record."""
    changed = tiny_draft.model_copy(update={"intended_use": "Something else."})
    other = Manifest.made(
        changed, name="efsnet", version=1, created_at=version.manifest.created_at, files=tiny_contents
    )
    (version.path / "manifest.json").unlink()
    (version.path / "manifest.json").write_text(str(other))

    for reference in ("1", "production"):
        with pytest.raises(DigestMismatch, match="promoted"):
            published_store.version("efsnet", reference)


def test_a_version_under_another_number_is_found(published_store: ModelStore, version: Version) -> None:
    """A copied folder is not a new version."""
    shutil.copytree(version.path, version.path.with_name("2"))

    with pytest.raises(ManifestInvalid, match=r"the folder holds efsnet 1"):
        published_store.version("efsnet", "2")


def test_a_version_without_manifest_is_damaged(published_store: ModelStore, version: Version) -> None:
    """An empty folder in a version's place is not passed over."""
    version.path.with_name("2").mkdir()

    with pytest.raises(FileMissing, match=r"efsnet 2: manifest\.json"):
        published_store.version("efsnet", "2")


def test_damaged_manifests_do_not_hide_the_other_versions(published_store: ModelStore, publish: Publish) -> None:
    """They are left out of the versions and of the search for a digest, not out of the numbers."""
    second = publish()
    damage(published_store.root / "efsnet" / "versions" / "1" / "manifest.json")

    assert (second,) == published_store.versions("efsnet")
    assert second == published_store.version("efsnet", str(second.digest))
    assert (1, 2) == published_store.numbers("efsnet")


def test_going_back_to_a_damaged_version_is_refused(published_store: ModelStore, publish: Publish) -> None:
    """The alias stays where it is."""
    promote(published_store, publish().number)
    damage(published_store.root / "efsnet" / "versions" / "1" / "model.onnx")

    with pytest.raises(DigestMismatch, match=r"efsnet 1: model\.onnx"):
        roll_back(published_store)
    assert {"production": 2} == published_store.aliases("efsnet")


def test_a_broken_chain_of_records_is_found_before_anything_is_served(
    published_store: ModelStore, publish: Publish
) -> None:
    """Each byte of the first record is covered by the second."""
    promote(published_store, publish().number)
    damage(published_store.root / "efsnet" / "promotions" / "000001.json")

    for reference in ("1", "production"):
        with pytest.raises(ChainBroken):
            published_store.version("efsnet", reference)


PUT: list[Callable[[Path], None]] = [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")]


@pytest.mark.parametrize("put", PUT, ids=["folder", "pipe", "link"])
def test_what_is_no_file_is_not_read(
    published_store: ModelStore, version: Version, put: Callable[[Path], None]
) -> None:
    """In place of a manifest, a folder, a pipe or a link neither hangs nor leaks the system's own errors."""
    (version.path / "manifest.json").unlink()
    put(version.path / "manifest.json")

    with pytest.raises(FileUnexpected, match="not a regular file"):
        published_store.version("efsnet", "1")


def test_a_version_is_a_value(version: Version) -> None:
    """Two readings of one version are equal."""
    assert version == replace(version)
    assert "efsnet 1" == str(version)


def test_a_withdrawn_alias_names_nothing(published_store: ModelStore, publish: Publish) -> None:
    """Until it is promoted anew, and nothing before comes back; other aliases stay."""
    for number in (publish().number, 1):
        published_store.promote("efsnet", "candidate", number, by="x", why="y")

    record = published_store.withdraw("efsnet", "candidate", by="x", why="tried enough", expected_current=1)

    assert ("withdraw", 1, 4) == (record.action, record.version, record.number)
    assert {"production": 1} == published_store.aliases("efsnet")
    with pytest.raises(AliasUnknown):
        published_store.version("efsnet", "candidate")
    with pytest.raises(NothingToRollBack):
        published_store.rollback("efsnet", "candidate", by="x", why="y")
    with pytest.raises(AliasUnknown):
        published_store.withdraw("efsnet", "candidate", by="x", why="y")
    published_store.promote("efsnet", "candidate", 2, by="x", why="again", expected_current=None)
    assert 2 == published_store.version("efsnet", "candidate").number


def test_a_damaged_candidate_can_be_withdrawn(published_store: ModelStore, publish: Publish) -> None:
    """That it is damaged may be the reason."""
    candidate = publish()
    published_store.promote("efsnet", "candidate", 2, by="x", why="y")
    shutil.rmtree(candidate.path)

    assert 2 == published_store.withdraw("efsnet", "candidate", by="x", why="it is gone").version


def test_production_is_not_withdrawn(published_store: ModelStore) -> None:
    """Something has to answer; another version can replace it."""
    with pytest.raises(PromotionInvalid, match="promote another version, or roll back"):
        published_store.withdraw("efsnet", "production", by="x", why="y")
    published_store.promote("efsnet", "candidate", 1, by="x", why="y")
    with pytest.raises(PromotionConflict, match="candidate names 1, not 2"):
        published_store.withdraw("efsnet", "candidate", by="x", why="y", expected_current=2)
