"""The knobs of the service."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.errors import SettingsInvalid
from service.settings import ELSEWHERE, Settings, read_settings

ROW = re.compile(r"^\| `(\w+)` \| (?:`(.+?)`)? ?\| (.+) \|$", re.MULTILINE)


def test_documented_settings_are_those_that_exist(repository: Path) -> None:
    """docs/settings.md lists every setting, its default and its meaning, and no other."""
    documented = ROW.findall((repository / "docs" / "settings.md").read_text(encoding="utf-8"))
    existing = [
        (f"EFSNET_{name.upper()}", "" if field.default is None else str(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]

    assert existing == documented


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable named EFSNET_ and the setting's name in capitals sets it."""
    monkeypatch.setenv("EFSNET_QUEUE_CAPACITY", "7")

    assert Settings().queue_capacity == 7


def test_settings_cannot_change() -> None:
    """What the service was started with is what holds until it ends."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EFSNET_PORT", "70000"),
        ("EFSNET_WORKERS", "0"),
        ("EFSNET_MAX_PIXELS", "-1"),
        ("EFSNET_DEADLINE_S", "0"),
        ("EFSNET_ROOT_PATH", "efsnet/"),
        ("EFSNET_PROVIDER", "magic"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value that cannot be keeps the service from starting, and the setting is named."""
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError, match=name.removeprefix("EFSNET_").lower()):
        Settings()


def test_the_service_listens_to_this_machine_only_unless_told() -> None:
    """The default address is the loopback address."""
    assert Settings().host == "127.0.0.1"


def test_the_store_is_in_the_users_folder_unless_told() -> None:
    """The default store is below the home of whoever starts the service."""
    assert Settings().store.is_relative_to(Path.home())


def test_every_setting_that_cannot_be_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name and with what is allowed, and a name that is none of ours too: a slip must not go unnoticed."""
    monkeypatch.setenv("EFSNET_PORT", "abc")
    monkeypatch.setenv("EFSNET_MAX_PIXEL", "1000")

    with pytest.raises(SettingsInvalid) as caught:
        read_settings(workers=0)

    lines = str(caught.value).splitlines()
    assert ["EFSNET_MAX_PIXEL:", "EFSNET_PORT:", "EFSNET_WORKERS:"] == [line.split()[0] for line in lines]
    assert "valid integer" in lines[1]


def test_variables_of_compose_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may stand in the same environment."""
    for name in ELSEWHERE:
        monkeypatch.setenv(name, "/data")

    assert 8000 == read_settings().port
