"""The command line: one line for an error, exit code 1 for damage, never a traceback."""

import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from model_store.cli import app
from model_store.digest import Digest
from model_store.manifest import Draft
from model_store.store import ModelStore
from model_store.version import Version
from tests.model_store.conftest import Signed

Publish = Callable[[], Version]
Run = Callable[..., Result]


@pytest.fixture
def run(published_store: ModelStore) -> Run:
    """A command on the store; wide enough for its tables."""
    environment = {"EFSNET_STORE": str(published_store.root), "USER": "dr.who", "COLUMNS": "200"}
    return lambda *arguments: CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)


def overwrite(path: Path, content: bytes) -> None:
    """Writes to a read-only file."""
    path.chmod(0o644)
    path.write_bytes(content)


def test_versions_are_listed_with_their_aliases(run: Run, publish: Publish, version: Version) -> None:
    """One line each: model, number, digest, day, aliases, Dice."""
    second = publish()

    lines = run("list").stdout.splitlines()

    (first_line,) = [line for line in lines if version.digest.short in line]
    assert ["efsnet", "1", version.digest.short, "production", "0.710"] == [
        cell.strip() for number, cell in enumerate(first_line.strip("│").split("│")) if number != 3
    ]
    assert any(second.digest.short in line for line in lines)


def test_a_list_cuts_nothing(published_store: ModelStore, version: Version) -> None:
    """Where there is no terminal to ask for its width, and in a narrow one."""
    published_store.promote("efsnet", "a-candidate-of-a-long-name", 1, by="the tests", why="width")
    environment = {"EFSNET_STORE": str(published_store.root), "COLUMNS": "80"}

    listed = CliRunner().invoke(app, ["list"], env=environment).stdout

    assert version.digest.short in listed
    assert "…" not in listed


def test_a_list_tells_damage_and_goes_on(run: Run, publish: Publish, version: Version) -> None:
    """The other versions are still listed."""
    second = publish()
    overwrite(version.path / "manifest.json", b"{}")

    listed = run("list", "--model", "efsnet")

    assert 0 == listed.exit_code
    assert "damaged" in listed.stdout
    assert second.digest.short in listed.stdout


def test_an_empty_store_is_an_empty_list(run: Run, tmp_path: Path) -> None:
    """Nothing published is nothing wrong."""
    assert 0 == run("list", "--store", str(tmp_path / "none")).exit_code


def test_a_version_is_shown_with_its_record(run: Run, version: Version) -> None:
    """Digest, metrics with their intervals, who promoted it and why, and the manifest as it stands."""
    shown = run("show").stdout

    assert str(version.digest) in shown
    assert "0.660 to 0.760" in shown
    assert "the tests" in shown
    assert "the first" in shown
    manifest = json.loads(shown[shown.index("{") :])
    assert version.manifest.model_dump(mode="json").items() <= manifest.items()


@pytest.mark.parametrize("reference", [(), ("1",), ("production",), ("--all",)])
def test_an_intact_version_is_verified(run: Run, version: Version, reference: tuple[str, ...]) -> None:
    """Records, files, and the reference images on this machine's engine."""
    verified = run("verify", *reference)

    assert 0 == verified.exit_code
    assert "efsnet: promotion records intact: 1" in verified.stdout
    assert "0 of 4096 pixels differ" in verified.stdout
    assert f"efsnet 1: intact, {version.digest}" in verified.stdout


def test_a_verification_can_ask_who_signed(run: Run, signed: Signed, publish: Publish) -> None:
    """The signed version is told with its key, the other is damage."""
    publish()
    store = ("--store", str(signed.store.root), "--keys", str(signed.keys))

    assert f"efsnet 1: signed by {signed.signature}\n" in run("verify", *store).stdout

    signed.file.unlink()
    unsigned = run("verify", *store)
    assert 1 == unsigned.exit_code
    assert unsigned.stderr.startswith("Damaged: efsnet 1 is not signed")


def test_a_verification_always_tells_what_the_signature_is_worth(run: Run, signed: Signed) -> None:
    """Without keys those of the shipped versions are trusted: others are told of, a worthless one is damage."""
    store = ("--store", str(signed.store.root))

    known = run("verify", *store)
    assert (0, 1) == (known.exit_code, known.stdout.count("which is not among the trusted keys"))

    signed.file.write_bytes(b"garbage")
    worthless = run("verify", *store)
    assert 1 == worthless.exit_code
    assert "is no signature known here" in worthless.stderr

    signed.file.unlink()
    unsigned = run("verify", *store)
    assert (0, 1) == (unsigned.exit_code, unsigned.stdout.count("efsnet 1 is not signed"))


def test_a_key_is_made_and_a_version_signed_with_it(run: Run, published_store: ModelStore, tmp_path: Path) -> None:
    """Locked by a passphrase, which is asked for; where the public key is, is said."""
    key = tmp_path / "keys" / "hospital.pem"
    environment = {"EFSNET_STORE": str(published_store.root)}

    made = CliRunner().invoke(app, ["keygen", str(key), "--passphrase"], input="secret\nsecret\n", env=environment)
    arguments = ["sign", "1", "--key", str(key), "--passphrase"]
    signed = CliRunner().invoke(app, arguments, input="secret\n", env=environment)

    assert (0, 0) == (made.exit_code, signed.exit_code)
    assert f"{key.with_suffix('.pub')} is the public key, sha256:" in made.stdout
    assert "efsnet 1 is signed by hospital, sha256:" in signed.stdout
    assert "secret" not in made.stdout + signed.stdout
    assert 0 == run("verify", "--keys", str(key.parent)).exit_code


def test_the_log_tells_who_decided_what_and_why(run: Run, publish: Publish) -> None:
    """Oldest first, each with its version and its digest."""
    second = publish()
    run("promote", "2", "--why", "better")

    lines = run("log").stdout.splitlines()

    (start,) = [place for place, line in enumerate(lines) if "dr.who" in line]
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines[start : start + 3]]
    number, _, what, why = zip(*rows, strict=True)
    assert ("2", "", "") == number
    assert ("production", "promote 2", second.digest.short) == what
    assert ("dr.who", "better") == why[:2]


def test_the_log_is_read_in_a_narrow_window(published_store: ModelStore, publish: Publish) -> None:
    """In 80 columns names break into lines; no digest does, and nothing is cut."""
    digest = publish().digest.short
    alias, why = "an-alias-" + 40 * "x", "reason " * 30
    published_store.promote("efsnet", alias, 2, by="somebody-of-a-long-name@hospital.example", why=why)

    environment = {"EFSNET_STORE": str(published_store.root), "COLUMNS": "80"}
    log = CliRunner().invoke(app, ["log"], env=environment).stdout

    assert digest in log
    assert "…" not in log
    assert 30 == log.count("reason")
    assert 80 >= max(map(len, log.splitlines()))


def test_the_log_is_checked_and_its_newest_digest_told(run: Run, publish: Publish, published_store: ModelStore) -> None:
    """To be noted elsewhere, and asked for again."""
    publish()
    run("promote", "2", "--why", "better")
    newest = Digest.of((published_store.root / "efsnet" / "promotions" / "000002.json").read_bytes())

    checked = run("log", "--verify")
    assert f"efsnet: promotion records intact: 2; the newest is {newest}\n" in checked.stdout
    assert 0 == run("log", "--verify", "--noted", str(newest)).exit_code
    assert 1 == run("log", "--verify", "--noted", str(Digest.of(b""))).exit_code
    assert 1 == run("log", "--noted", str(Digest.of(b""))).exit_code


def test_the_log_tells_damage_of_the_past_and_what_is_odd(run: Run, publish: Publish, version: Version) -> None:
    """A version that is gone is a remark, one that was changed is damage."""
    for number in (2, 3):
        publish()
        run("promote", str(number), "--why", "better")
    overwrite(version.path / "model.onnx", b"x")
    shutil.rmtree(version.path.with_name("2"))

    checked = run("log", "--verify")

    assert 1 == checked.exit_code
    assert "Remark: efsnet 2 was promoted, and is no longer in the store.\n" in checked.stdout
    assert "Damaged: efsnet 1: model.onnx is not what was published.\n" == checked.stderr


def test_the_gate_is_overruled_aloud(
    run: Run, published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]
) -> None:
    """What it said is printed, and stands in the log with the reason."""
    published_store.publish("efsnet", tiny_draft.model_copy(update={"metrics": {}}), tiny_contents)

    assert run("promote", "2", "--why", "x").stderr.startswith("Error: efsnet 2 says nothing of its lesion_dice")
    forced = run("promote", "2", "--why", "x", "--force-because", "a [test]")

    assert forced.stdout.startswith("The gate was overruled: efsnet 2 says nothing of its lesion_dice")
    assert "Forced: a [test]." in run("log").stdout


def test_a_reason_that_the_gate_did_not_need_is_told(run: Run, publish: Publish) -> None:
    """Lest somebody believe that it stands on the record; what could not be compared is told too."""
    publish()

    promoted = run("promote", "2", "--why", "x", "--force-because", "habit")

    assert promoted.stdout.startswith("Nothing was forced: the gate lets this version pass")
    said = "efsnet 2 and efsnet 1, in production, were measured on no same images."
    assert f"The gate could not compare all: {said}\n" in promoted.stdout
    assert f"Not compared: {said}" in run("log").stdout


def test_a_candidate_is_withdrawn(run: Run, publish: Publish, published_store: ModelStore) -> None:
    """On the record, with the reason; the version stays."""
    publish()
    run("promote", "2", "--alias", "candidate", "--why", "to be tried")

    assert run("withdraw", "--why", "x", "--expect", "1").stderr == "Error: candidate names 2, not 1.\n"
    withdrawn = run("withdraw", "--why", "tried enough", "--expect", "2")

    assert withdrawn.stdout.startswith("candidate names nothing now (promotion record 3).\n")
    assert ("withdraw", "tried enough") == (
        published_store.promotions("efsnet")[-1].action,
        published_store.promotions("efsnet")[-1].why,
    )
    assert 0 == run("show", "2").exit_code


def test_the_log_asks_who_signed(run: Run, signed: Signed) -> None:
    """A version on record whose signature is worthless is damage, and with keys an unsigned one too."""
    store = ("--store", str(signed.store.root))
    assert "Remark: efsnet 1 is signed by sha256:" in run("log", "--verify", *store).stdout
    assert 0 == run("log", "--verify", "--keys", str(signed.keys), *store).exit_code

    signed.file.unlink()
    unsigned = run("log", "--keys", str(signed.keys), *store)
    assert (1, True) == (unsigned.exit_code, unsigned.stderr.startswith("Damaged: efsnet 1 is not signed"))

    signed.file.write_bytes(b"garbage")
    assert 1 == run("log", "--verify", *store).exit_code


def test_damage_is_named_with_exit_code_1(run: Run, publish: Publish, version: Version) -> None:
    """All of it, in all versions."""
    second = publish()
    overwrite(version.path / "model.onnx", b"x")
    (version.path / "more").write_bytes(b"")
    overwrite(second.path / "manifest.json", b"{}")

    verified = run("verify", "--all")

    assert 1 == verified.exit_code
    assert [
        "Damaged: efsnet 1: 'more' was not published with it.",
        "Damaged: efsnet 1: model.onnx is not what was published.",
        "Damaged: efsnet 2: manifest.json: Its text is not the one that was sealed.",
    ] == verified.stderr.splitlines()


def test_a_version_that_segments_otherwise_here_is_damaged(run: Run, publish: Publish, version: Version) -> None:
    """A verification includes the replay."""
    overwrite(version.path / "reference" / "squares.png", b"x")

    assert 1 == run("verify").exit_code


def test_a_promotion_and_its_rollback(run: Run, publish: Publish, published_store: ModelStore) -> None:
    """Who is taken from the environment where it is not said."""
    publish()

    promoted = run("promote", "2", "--why", "better", "--expect", "1")
    assert "production names version 2 now (promotion record 2).\n" in promoted.stdout
    assert "changes over" in promoted.stdout
    rolled_back = run("rollback", "--why", "worse", "--by", "somebody")
    assert rolled_back.stdout.startswith("production names version 1 now (promotion record 3).\n")

    assert [("dr.who", "better"), ("somebody", "worse")] == [
        (promotion.by, promotion.why) for promotion in published_store.promotions("efsnet")[1:]
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--model", "other"), "Error: The store has no model 'other'."),
        (("show", "7"), "Error: efsnet has no version 7."),
        (("show", "candidate"), "Error: efsnet has no alias 'candidate'."),
        (("verify", "7"), "Error: efsnet has no version 7."),
        (("verify", "--all", "--model", "other"), "Error: The store has no model 'other'."),
        (("promote", "7", "--why", "x"), "Error: efsnet has no version 7."),
        (("promote", "1", "--why", "x", "--expect", "7"), "Error: production names 1, not 7."),
        (("promote", "1", "--why", " "), "Error: This is no promotion: why: a name or a reason is not empty."),
        (("promote", "1", "--why", "a\x1b[2J"), "Error: This is no promotion: why: one line without control"),
        (("promote", "1", "--why", "x", "--alias", "No Name"), "Error: This is no promotion: alias: a name begins"),
        (("log", "--model", "other"), "Error: The store has no model 'other'."),
        (("log", "--verify", "--noted", "sha256:x"), "Error: A digest is sha256: and 64"),
        (("sign", "1", "--key", "/nowhere.pem"), "Error: /nowhere.pem: there is no such key."),
        (("verify", "--keys", "/nowhere"), "Error: /nowhere holds no trusted key: put the signers'"),
        (("rollback", "--why", "x", "--expect", "7"), "Error: production names 1, not 7."),
        (("withdraw", "--why", "x"), "Error: efsnet has no alias 'candidate'."),
        (("withdraw", "--why", "x", "--alias", "production"), "Error: production is not withdrawn: promote another"),
        (("rollback", "--why", "x"), "Error: production of efsnet has named no version before this one."),
        (("rollback", "--why", "x", "--alias", "[red]"), "Error: [red] of efsnet has named no version"),
    ],
)
def test_an_error_is_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    """On stderr, with exit code 1."""
    failed = run(*arguments)

    assert 1 == failed.exit_code
    assert failed.stderr.startswith(message)
    assert 1 == failed.stderr.count("\n")


@pytest.mark.parametrize("command", [("promote", "1"), ("rollback",)])
def test_who_decides_is_asked_for_where_the_system_does_not_say(
    published_store: ModelStore, command: tuple[str, ...]
) -> None:
    """As in a container or a cron job."""
    environment = {"EFSNET_STORE": str(published_store.root), "USER": None}

    failed = CliRunner().invoke(app, [*command, "--why", "x"], env=environment)

    assert 2 == failed.exit_code
    assert "--by" in failed.stderr


def test_a_store_that_is_a_file_is_one_line_too(run: Run, tmp_path: Path) -> None:
    """As is whatever else the system refuses."""
    (tmp_path / "file").write_bytes(b"")

    assert 1 == run("promote", "1", "--why", "x", "--store", str(tmp_path / "file")).exit_code


def test_a_home_folder_is_understood(run: Run, monkeypatch: pytest.MonkeyPatch, published_store: ModelStore) -> None:
    """In the default, and in EFSNET_STORE as the service takes it."""
    monkeypatch.setenv("HOME", str(published_store.root.parent))

    assert 0 == run("verify", "--store", "~/store").exit_code


def test_the_package_is_a_command(published_store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m model_store`."""
    monkeypatch.setattr(sys, "argv", ["model_store", "list", "--store", str(published_store.root)])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("model_store", run_name="__main__")

    assert 0 == ended.value.code


def test_the_command_needs_no_torch_and_no_web(repository: Path) -> None:
    """It runs where only the service is installed, and starts at once."""
    program = "import sys, model_store.cli; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)

    assert not {"torch", "fastapi", "starlette", "onnx", "cryptography", "model_signing"} & set(done.stdout.split())
