"""The knobs of the service."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from service.__main__ import app
from service.errors import SettingsInvalid
from service.keys import KeyRing
from service.server import require_keys
from service.settings import ELSEWHERE, Settings, in_container, knobs, read_settings

EVERYWHERE = "0.0.0.0"  # noqa: S104 (nothing listens)
ROW = re.compile(r"^\| `(\w+)` \| (?:`(.+?)`)? ?\| (.+) \|$", re.MULTILINE)


def _shown(default: object) -> str:
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def test_documented_settings_are_those_that_exist(repository: Path) -> None:
    """docs/settings.md lists every setting, its default and its meaning, and no other."""
    documented = ROW.findall((repository / "docs" / "settings.md").read_text(encoding="utf-8"))
    existing = [(name, _shown(field.default), field.description) for name, field in knobs().items()]

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
        ("EFSNET_PACS_URL", "orthanc:8042"),
        ("EFSNET_PACS_OUTPUTS", "seg"),
        ("EFSNET_PACS_OUTPUTS", "sr,jpeg"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value that cannot be keeps the service from starting, and the setting is named."""
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError, match=name.removeprefix("EFSNET_").lower().replace("pacs_", "pacs.")):
        Settings()


def test_the_service_listens_to_this_machine_only_unless_told() -> None:
    """The default address is the loopback address."""
    assert Settings().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "bind", "inside", "outside"),
    [
        ("127.0.0.1", None, None, None),
        ("127.9.9.9", None, None, None),
        ("::1", None, None, None),
        ("localhost", None, None, None),
        (EVERYWHERE, None, EVERYWHERE, EVERYWHERE),
        ("::", None, "::", "::"),
        ("10.0.0.7", None, "10.0.0.7", "10.0.0.7"),
        ("pacs.hospital", None, "pacs.hospital", "pacs.hospital"),
        (EVERYWHERE, "127.0.0.1", None, EVERYWHERE),
        (EVERYWHERE, EVERYWHERE, EVERYWHERE, EVERYWHERE),
        ("127.0.0.1", EVERYWHERE, EVERYWHERE, None),
    ],
)
def test_who_reaches_the_port_is_known(host: str, bind: str | None, inside: str | None, outside: str | None) -> None:
    """In a container the address that its port is published at decides, anywhere else the one that is listened on."""
    settings = Settings(host=host, bind=bind)

    assert (inside, outside) == (settings.reached_at(contained=True), settings.reached_at(contained=False))


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_a_container_is_known_by_its_mark(tmp_path: Path, mark: str) -> None:
    """Of Docker or of Podman; who forgets to say so is asked for keys."""
    assert not in_container(tmp_path)
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).touch()

    assert in_container(tmp_path)


def test_what_is_told_has_no_folders(tmp_path: Path) -> None:
    """The names of their settings stand in their place."""
    settings = Settings(store=tmp_path / "store")
    told = settings.told(f"{tmp_path}/store/efsnet/1 and {tmp_path}/store-state/keys.json")

    assert "EFSNET_STORE/efsnet/1 and EFSNET_STATE/keys.json" == told


def test_a_network_is_not_served_without_keys(tmp_path: Path) -> None:
    """Unless the operator says so in as many words, or there is a key."""
    settings = Settings(host=EVERYWHERE, store=tmp_path / "store")
    ring = KeyRing(settings.keys_file)

    with pytest.raises(SettingsInvalid, match="keys create"):
        require_keys(settings, ring, contained=False)
    told = Settings(host=EVERYWHERE, open_to_network="without-keys", store=tmp_path / "store")
    require_keys(told, ring, contained=False)
    require_keys(Settings(store=tmp_path / "store"), ring, contained=False)
    ring.create("radiology", ["infer"], 1)
    require_keys(settings, ring, contained=False)


@pytest.mark.parametrize("bind", [{}, {"EFSNET_BIND": "127.0.0.1"}], ids=["alone", "beside a container's variable"])
def test_a_service_that_a_network_could_use_does_not_start_without_keys(tmp_path: Path, bind: dict[str, str]) -> None:
    """The command ends with what to do, whatever a variable for containers says of the port."""
    store = {"EFSNET_STORE": str(tmp_path / "store")}
    ended = CliRunner().invoke(app, ["serve", "--host", EVERYWHERE], env=store | bind)

    assert (2, 1) == (ended.exit_code, ended.stderr.count("\n"))
    assert EVERYWHERE in ended.stderr
    assert "EFSNET_OPEN_TO_NETWORK=without-keys" in ended.stderr


@pytest.mark.parametrize("folder", ["store", "store/state", "store/../store/state"])
def test_what_the_service_keeps_is_not_in_the_store(tmp_path: Path, folder: str) -> None:
    """Whoever sets the store back would set that back too."""
    with pytest.raises(SettingsInvalid, match="EFSNET_STATE is in the store"):
        read_settings(store=tmp_path / "store", state=tmp_path / folder)


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


def test_the_settings_of_the_pacs_are_variables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a variable EFSNET_PACS_…; secrets are not shown."""
    monkeypatch.setenv("EFSNET_PACS_URL", "http://orthanc:8042/dicom-web/")
    monkeypatch.setenv("EFSNET_PACS_OUTPUTS", "SEG, sr")
    monkeypatch.setenv("EFSNET_PACS_PASSWORD", "hunter2")
    pacs = read_settings().pacs

    assert pacs.url == "http://orthanc:8042/dicom-web"
    assert set(pacs.roles) == {"SEG", "SR"}
    assert "hunter2" not in repr(pacs)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PACS_ORTHANC_URL": "http://orthanc:8042"}, "EFSNET_PACS_ORTHANC_URL needs EFSNET_PACS_URL"),
        ({"PACS_TOKEN": "t", "PACS_USER": "u"}, "not both"),
        ({"PACS_OUTPUTS": "seg"}, "EFSNET_PACS_OUTPUTS: sr is needed"),
        ({"PACS_NONSENSE": "1"}, "EFSNET_PACS_NONSENSE: there is no such setting"),
    ],
)
def test_settings_of_the_pacs_that_cannot_be_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    """One line says which, once."""
    for name, value in variables.items():
        monkeypatch.setenv(f"EFSNET_{name}", value)

    with pytest.raises(SettingsInvalid, match=message) as refused:
        read_settings()
    assert "\n" not in str(refused.value)
