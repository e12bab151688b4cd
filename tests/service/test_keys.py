"""API keys, and the file of them."""

import hashlib
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    KeysUnusable,
    KeyUnknown,
    ScopeMissing,
    StateUnusable,
)
from service.keys import Key, KeyRing


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    """A ring without keys."""
    return KeyRing(tmp_path / "state" / "keys.json")


def bearer(text: str) -> str:
    """The header with this key."""
    return f"Bearer {text}"


def expire(ring: KeyRing) -> None:
    """Lets all keys of the file have expired a second ago."""
    keys = json.loads(ring.path.read_bytes())
    for key in keys["keys"]:
        key["expires_at"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    ring.path.write_text(json.dumps(keys))


@pytest.mark.requirement("ACC-2")
def test_without_keys_everybody_may_segment_and_read_but_not_decide(ring: KeyRing) -> None:
    """A promotion takes a key, even where nobody has made one."""
    assert (None, None) == (ring.holder(None, "infer"), ring.holder(None, "read"))
    with pytest.raises(CredentialsMissing, match="keys create"):
        ring.holder(None, "publish")
    with pytest.raises(CredentialsMissing):
        ring.holder(None, "admin")


@pytest.mark.requirement("ACC-3")
def test_a_key_is_for_its_scopes_alone(ring: KeyRing) -> None:
    """And its holder is known by name and id."""
    text, key = ring.create("radiology", ["infer"], 1)

    assert key == ring.holder(bearer(text), "infer")
    assert f"radiology (key {key.id})" == str(key)
    with pytest.raises(ScopeMissing, match="`publish`; this one is for infer"):
        ring.holder(bearer(text), "publish")


def test_an_admin_may_everything(ring: KeyRing) -> None:
    """The scope stands for all others."""
    text, key = ring.create("boss", ["admin"], 1)

    assert [key] * 4 == [ring.holder(bearer(text), scope) for scope in ("infer", "read", "publish", "admin")]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic dXNlcjpwYXNz", "efs_without_its_word", "Bearer a b"])
def test_what_is_no_key_is_missing(ring: KeyRing, header: str | None) -> None:
    """Once there is a key, nothing goes without one."""
    ring.create("radiology", ["infer"], 1)

    with pytest.raises(CredentialsMissing):
        ring.holder(header, "infer")


def test_a_key_that_was_never_made_is_worth_nothing(ring: KeyRing) -> None:
    """Nor is one that differs in its last letter, or that is the hash of the file."""
    text, key = ring.create("radiology", ["infer"], 1)

    for wrong in (text[:-1], f"{text}x", text.upper(), key.sha256, key.id, "efs_"):
        with pytest.raises(CredentialsInvalid):
            ring.holder(bearer(wrong), "infer")


def test_the_word_before_the_key_is_written_in_any_case(ring: KeyRing) -> None:
    """As RFC 9110 section 11.1 says of schemes."""
    text, key = ring.create("radiology", ["infer"], 1)

    assert key == ring.holder(f"bearer  {text}", "infer")


@pytest.mark.requirement("ACC-3")
def test_a_key_ends_when_it_expires(ring: KeyRing) -> None:
    """The holder is told when that was, and that another is needed."""
    text, _ = ring.create("radiology", ["infer"], 1)
    expire(ring)

    with pytest.raises(CredentialsInvalid, match=r"expired at .* ask for a new one"):
        ring.holder(bearer(text), "infer")


def test_keys_change_without_a_restart(ring: KeyRing) -> None:
    """Another process makes and revokes them, and the next request heeds it."""
    old, _ = ring.create("radiology", ["infer"], 1)
    ring.holder(bearer(old), "infer")
    elsewhere = KeyRing(ring.path)
    new, made = elsewhere.create("radiology", ["infer"], 1)

    assert made == ring.holder(bearer(new), "infer")
    elsewhere.revoke(ring.keys[0].id)
    with pytest.raises(CredentialsInvalid):
        ring.holder(bearer(old), "infer")
    assert made == ring.holder(bearer(new), "infer")


def test_a_file_that_is_exchanged_behind_links_is_taken(tmp_path: Path) -> None:
    """As Kubernetes exchanges the files of a Secret: the folder that a link names is another one from then on."""
    made = {}
    for version in ("one", "two"):
        made[version], _ = KeyRing(tmp_path / version / "keys.json").create(version, ["infer"], 1)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "keys.json").symlink_to("..data/keys.json")
    ring = KeyRing(tmp_path / "keys.json")
    assert ring.holder(f"Bearer {made['one']}", "infer")
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").rename(tmp_path / "..data")

    assert ring.holder(f"Bearer {made['two']}", "infer")
    with pytest.raises(CredentialsInvalid):
        ring.holder(f"Bearer {made['one']}", "infer")


def test_the_file_holds_hashes_only_and_is_its_owners(ring: KeyRing) -> None:
    """Nobody else reads it, and who does finds no key in it."""
    text, key = ring.create("radiology", ["infer"], 1)

    assert text.removeprefix("efs_") not in ring.path.read_text()
    assert hashlib.sha256(text.encode()).hexdigest() == key.sha256
    assert 0o600 == stat.S_IMODE(ring.path.stat().st_mode)
    assert 0o700 == stat.S_IMODE(ring.path.parent.stat().st_mode)


def test_two_keys_are_never_the_same(ring: KeyRing) -> None:
    """And each is 256 bits long."""
    texts = {ring.create("radiology", ["infer"], 1)[0] for _ in range(5)}

    assert 5 == len(texts)
    assert {len("efs_") + 43} == set(map(len, texts))


def test_no_key_left_still_asks_for_one(ring: KeyRing) -> None:
    """To revoke the last one opens nothing."""
    _, key = ring.create("radiology", ["infer"], 1)
    ring.revoke(key.id)

    with pytest.raises(CredentialsMissing):
        KeyRing(ring.path).holder(None, "infer")


def test_a_file_that_disappears_opens_nothing(ring: KeyRing) -> None:
    """A service that has once asked for keys goes on asking."""
    text, _ = ring.create("radiology", ["infer"], 1)
    ring.holder(bearer(text), "infer")
    ring.path.unlink()

    with pytest.raises(CredentialsMissing):
        ring.holder(None, "infer")
    with pytest.raises(CredentialsInvalid):
        ring.holder(bearer(text), "infer")


@pytest.mark.parametrize("content", ["", "{", '{"keys": [{}]}', '{"keys": [], "more": 1}'])
def test_a_damaged_file_lets_nobody_in(ring: KeyRing, content: str) -> None:
    """What is wrong is said without quoting it; and it is not overwritten."""
    text, key = ring.create("radiology", ["infer"], 1)
    ring.path.write_text(content)

    for attempt in (
        lambda: ring.holder(bearer(text), "infer"),
        lambda: ring.revoke(key.id),
        lambda: ring.create("other", ["infer"], 1),
    ):
        with pytest.raises(KeysUnusable, match="is damaged: restore it"):
            attempt()
    assert content == ring.path.read_text()


def test_a_file_that_cannot_be_read_lets_nobody_in(ring: KeyRing) -> None:
    """A folder in its place, say."""
    ring.path.mkdir(parents=True)

    with pytest.raises(StateUnusable, match="cannot be read"):
        ring.holder("Bearer x", "infer")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """With the setting that names another."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StateUnusable, match="EFSNET_STATE"):
        KeyRing(tmp_path / "file" / "keys.json").create("radiology", ["infer"], 1)


@pytest.mark.parametrize(("name", "scopes"), [("", ["infer"]), ("a\nb", ["infer"]), ("a", []), ("a", ["all"])])
def test_a_key_that_cannot_be_is_not_made(ring: KeyRing, name: str, scopes: list[str]) -> None:
    """A name stands in logs, and a scope is one of five."""
    with pytest.raises(KeysUnusable, match="scopes are infer, read, correct, publish and admin"):
        ring.create(name, scopes, 1)
    assert not ring.path.exists()


def test_a_key_that_is_not_there_cannot_be_revoked(ring: KeyRing) -> None:
    """The command that lists them is named."""
    with pytest.raises(KeyUnknown, match="keys list"):
        ring.revoke("00000000")


def test_what_is_kept_of_a_key_cannot_change() -> None:
    """A key is made once."""
    now = datetime.now(UTC)
    key = Key(name="a", scopes=("infer",), created_at=now, expires_at=now, sha256="0" * 64)

    with pytest.raises(ValueError, match="frozen"):
        key.name = "b"  # type: ignore[misc]


def test_the_log_names_whose_keys_come_and_go(ring: KeyRing, caplog: pytest.LogCaptureFixture) -> None:
    """In the service that runs, whoever made and revoked them; never the key."""
    caplog.set_level("INFO")
    text, key = ring.create("radiology", ["infer", "read"], 1)
    ring.holder(bearer(text), "infer")
    KeyRing(ring.path).revoke(key.id)
    with pytest.raises(CredentialsInvalid):
        ring.holder(bearer(text), "infer")

    until = f"{key.expires_at:%Y-%m-%d}"
    assert [
        f"taken from now on: key={key.id} name=radiology scopes=infer,read until={until}",
        f"revoked: key={key.id} name=radiology",
    ] == caplog.messages
    assert text not in caplog.text


def test_the_log_names_whose_key_was_refused(ring: KeyRing, caplog: pytest.LogCaptureFixture) -> None:
    """And why; of a key that nobody was given, nothing."""
    caplog.set_level("WARNING")
    text, key = ring.create("radiology", ["infer"], 1)
    with pytest.raises(ScopeMissing):
        ring.holder(bearer(text), "publish")
    expire(ring)
    for sent in (text, f"{text}x"):
        with pytest.raises(CredentialsInvalid):
            ring.holder(bearer(sent), "infer")

    assert [
        f"refused: key={key.id} name=radiology because=not for publish",
        f"refused: key={key.id} name=radiology because=expired",
    ] == caplog.messages
    assert text not in caplog.text


def test_a_file_that_is_too_large_lets_nobody_in(ring: KeyRing) -> None:
    """It is not cut, lest the keys at its end be forgotten."""
    text, _ = ring.create("radiology", ["infer"], 1)
    ring.path.write_text(ring.path.read_text() + " " * 1_000_000)

    with pytest.raises(StateUnusable, match="more than 1,000,000 bytes"):
        ring.holder(bearer(text), "infer")
