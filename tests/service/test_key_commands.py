"""`python -m service keys`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.__main__ import app
from service.keys import KeyRing


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyRing:
    """The keys of the service that the commands mean."""
    monkeypatch.setenv("EFSNET_STATE", str(tmp_path))
    return KeyRing(tmp_path / "keys.json")


def keys(*arguments: str) -> Result:
    """Runs a command."""
    return CliRunner().invoke(app, ["keys", *arguments], catch_exceptions=False)


def test_a_key_is_printed_once_and_alone(ring: KeyRing) -> None:
    """So that a script can take it; what it is for goes elsewhere."""
    made = keys("create", "radiology", "--scopes", "infer,read")
    key = ring.holder(f"Bearer {made.stdout.strip()}", "read")

    assert key
    assert ("radiology", ("infer", "read")) == (key.name, key.scopes)
    assert key.id in made.stderr
    assert made.stdout.strip() not in keys("list").output


def test_keys_are_listed_and_revoked_by_their_id(ring: KeyRing) -> None:
    """A revoked one is gone."""
    _, key = ring.create("radiology", ["infer"], 1)

    assert key.id in keys("list").stdout
    assert "radiology" in keys("revoke", key.id).stdout
    assert key.id not in keys("list").stdout


@pytest.mark.parametrize(
    "arguments", [("revoke", "00000000"), ("create", "a b", "--scopes", "infer"), ("create", "a", "--scopes", "all")]
)
def test_what_cannot_be_is_told_in_a_line(ring: KeyRing, arguments: tuple[str, ...]) -> None:
    """Exit code 2, and nothing is made."""
    ended = keys(*arguments)

    assert (2, 1) == (ended.exit_code, ended.stderr.count("\n"))
    assert () == ring.keys
