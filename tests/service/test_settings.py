"""The knobs of the service."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from service.__main__ import app
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
    monkeypatch.setenv("efsnet_queue", "7")

    with pytest.raises(SettingsInvalid) as caught:
        read_settings(workers=0, root_path="efsnet/")

    lines = dict(line.split(": ", 1) for line in str(caught.value).splitlines())
    assert ["EFSNET_MAX_PIXEL", "efsnet_queue", "EFSNET_PORT", "EFSNET_ROOT_PATH", "EFSNET_WORKERS"] == list(lines)
    assert "valid integer" in lines["EFSNET_PORT"]
    assert "a path begins with / and does not end with it, such as /efsnet." == lines["EFSNET_ROOT_PATH"]


@pytest.mark.parametrize(
    ("arguments", "environment", "complaint"),
    [
        (["serve"], {"EFSNET_PORT": "abc"}, "EFSNET_PORT: Input should be a valid integer"),
        (["serve", "--port", "99999"], {}, "EFSNET_PORT: Input should be less than or equal to 65535"),
        (["segment", "x.png", "--out", "out"], {"EFSNET_MAX_PIXELS": "x"}, "EFSNET_MAX_PIXELS: Input should be"),
    ],
)
def test_settings_that_cannot_be_end_a_command_in_one_line(
    arguments: list[str], environment: dict[str, str], complaint: str
) -> None:
    """Exit code 2, the setting's name, what is allowed; no traceback, no address of a library's documentation."""
    ended = CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)

    assert 2 == ended.exit_code
    assert ended.stderr.startswith(complaint)
    assert 1 == ended.stderr.count("\n")


def test_variables_of_compose_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may stand in the same environment."""
    for name in ELSEWHERE:
        monkeypatch.setenv(name, "/data")

    assert 8000 == read_settings().port
