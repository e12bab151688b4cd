"""The commands, as docs/copies.md shows them."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from model_store.cli import app
from model_store.digest import Digest
from model_store.seeding import SHIPPED
from model_store.store import ModelStore
from model_store.version import Version
from tests.model_store.conftest import Publish, Signed
from tests.model_store.copies.registries import Contents, small_registry

Run = Callable[..., Result]


@pytest.fixture
def run(published_store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command on a store, of somebody who is logged in nowhere."""
    monkeypatch.chdir(tmp_path)
    environment = {"EFSNET_STORE": str(published_store.root), "DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    return lambda *arguments: CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)


@pytest.fixture
def address() -> Iterator[str]:
    """Of a repository."""
    with small_registry(Contents()) as address:
        yield address


def test_a_version_goes_round_by_a_tar(run: Run, elsewhere: ModelStore, second: Version) -> None:
    """Each command says what it did, in one line; a second time it says so too."""
    exported = run("export", "2", "efsnet-2.tar", "--store", str(elsewhere.root))
    assert f"efsnet 2 is in efsnet-2.tar, {second.digest}.\n" == exported.stdout

    first, again = run("import", "efsnet-2.tar"), run("import", "efsnet-2.tar")
    assert f"efsnet 2 is in the store now, intact, {second.digest}." == first.stdout.splitlines()[0]
    assert f"efsnet 2 was in the store already, intact, {second.digest}." == again.stdout.splitlines()[0]


def test_a_version_goes_round_by_a_registry(run: Run, elsewhere: ModelStore, second: Version, address: str) -> None:
    """Likewise."""
    push = ("push", "2", address, "--store", str(elsewhere.root))
    assert f"efsnet 2 is now at {address}:2, {second.digest}.\n" == run(*push).stdout
    assert f"efsnet 2 was already at {address}:2, {second.digest}.\n" == run(*push).stdout

    pulled = run("pull", "2", address, "--digest", str(second.digest))
    assert f"efsnet 2 is in the store now, intact, {second.digest}." == pulled.stdout.splitlines()[0]


def test_promotions_are_announced_and_followed(run: Run, published_store: ModelStore, address: str) -> None:
    """What is new is told, alias by alias."""
    published_store.promote("efsnet", "candidate", 1, by="the tests", why="to try")
    published_store.withdraw("efsnet", "candidate", by="the tests", why="was tried")
    run("push", "1", address)
    lacked = [run("announce", address).stdout for _ in range(2)]
    follow = ("follow", address, "--once", "--store", str(published_store.root.with_name("empty")))

    message = f"{address}:promotions has all promotion records of efsnet now, of which it lacked"
    assert [f"{message} 3.\n", f"{message} 0.\n"] == lacked
    assert [
        "production names version 1 now (promotion record 1).",
        "candidate names version 1 now (promotion record 2).",
        "candidate names nothing now (promotion record 3).",
    ] == run(*follow).stdout.splitlines()
    assert "" == run(*follow).stdout


@contextmanager
def following(repository: Path, address: str, store: ModelStore) -> Iterator[Callable[[], str]]:
    """A process that follows into a store, and what it says next, a line."""
    command = [sys.executable, "-m", "model_store", "follow", address, "--every", "0.1", "--store", str(store.root)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=repository, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert process.stdout
            yield process.stdout.readline
        finally:
            process.terminate()
            rest, _ = process.communicate(timeout=30)
    assert (0, "") == (process.returncode, rest)


def test_what_keeps_a_follower_is_said_once(
    run: Run, published_store: ModelStore, publish: Publish, repository: Path
) -> None:
    """It goes on by itself when the registry is back, and when a version is there; asked to end, it does."""
    publish()
    held = Contents()
    ward = ModelStore(published_store.root.with_name("ward"))
    with small_registry(held) as address:
        run("push", "1", address)
        run("announce", address)
        away = held.manifests.pop("1")
        with following(repository, address, ward) as said:
            assert f"Not followed: {address} has no version 1.\n" == said()
            held.manifests["1"] = away
            assert "production names version 1 now (promotion record 1).\n" == said()
            assert f"{address} is followed again.\n" == said()

            held.status = 503
            assert f"Not followed: {address}: the registry answers 503; look at its log.\n" == said()
            asked = len(held.requests)
            while len(held.requests) < asked + 5:
                time.sleep(0.05)
            held.status = None
            assert f"{address} is followed again.\n" == said()

            run("push", "2", address)
            published_store.promote("efsnet", "production", 2, by="the tests", why="it is newer")
            run("announce", address)
            assert "production names version 2 now (promotion record 2).\n" == said()

    assert published_store.log("efsnet").contents() == ward.log("efsnet").contents()


def test_a_follower_ends_while_it_waits_for_an_answer(published_store: ModelStore, repository: Path) -> None:
    """Of a registry that has accepted the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}/models/efsnet"
        with following(repository, address, published_store):
            connection, _ = silent.accept()
            connection.recv(1)
    connection.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "7", "x.tar"), "Error: efsnet has no version 7."),
        (("import", "x.tar"), "Error: x.tar: No such file or directory."),
        (("pull", "2", "nowhere"), "Error: A repository is HOST[:PORT]/PATH in small letters"),
        (("pull", "2", "h.example/x", "--digest", "2"), "Error: A digest is sha256: and 64"),
        (("pull", "2", "h.example/x", "--trusted", "keys"), "Error: keys holds no trusted key"),
        (("follow", ""), "Error: A repository is HOST[:PORT]/PATH in small letters"),
        (("follow", "h.example/x", "--trusted", "keys"), "Error: keys holds no trusted key"),
    ],
)
def test_a_mistake_is_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    """With exit code 1."""
    failed = run(*arguments)

    assert 1 == failed.exit_code
    assert failed.stderr.startswith(message)
    assert 1 == failed.stderr.count("\n")


def test_what_was_not_ordered_is_refused(run: Run, elsewhere: ModelStore) -> None:
    """By digest, by name, and without a signature that is asked for."""
    run("export", "2", "x.tar", "--store", str(elsewhere.root))

    for order in (("--digest", str(Digest.of(b""))), ("--model", "other"), ("--trusted", str(SHIPPED.parent / "keys"))):
        assert 1 == run("import", "x.tar", *order).exit_code


def test_the_examples_of_the_document_work(run: Run, repository: Path, address: str, tmp_path: Path) -> None:
    """In their order, with the version that ships; each part of the document that receives has a new store."""
    text = (repository / "docs" / "copies.md").read_text().replace("registry.example.org/models/efsnet", address)
    parts = [shlex.split(line)[3:] for line in re.findall(r"^\.venv.*$", text, re.MULTILINE)]
    for number, words in enumerate(parts):
        receiver = number if words[0] in {"pull", "import"} else number - 1
        store = SHIPPED if words[0] in {"push", "announce", "export"} else tmp_path / f"store-{receiver}"
        once = ["--once"] if words[0] == "follow" else []
        done = run(*words, *once, "--store", str(store))
        assert 0 == done.exit_code, done.stderr

    through_a_registry = ["push", "pull", "verify", "push", "announce", "follow"]
    assert [*through_a_registry, "export", "import", "verify"] == [words[0] for words in parts]


def test_the_command_line_starts_without_oras(repository: Path) -> None:
    """Nor does the service import it."""
    program = "import sys, model_store.cli, service.app; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)

    assert not {"oras", "requests", "jsonschema"} & set(done.stdout.split())


def test_what_a_signature_is_worth_is_told_though_nobody_asked(run: Run, signed: Signed, tmp_path: Path) -> None:
    """A worthless one is warned of; that its maker is not known here is told."""
    archive, empty = str(tmp_path / "1.tar"), ("--store", str(tmp_path / "empty"))
    run("export", "1", archive, "--store", str(signed.store.root))
    assert "which is not among the trusted keys" in run("import", archive, *empty).stdout

    signed.file.unlink()
    signed.file.write_bytes(b"garbage")
    other = str(tmp_path / "bad.tar")
    run("export", "1", other, "--store", str(signed.store.root))
    taken = run("import", other, "--store", str(tmp_path / "another"))

    assert taken.stderr.startswith("Warning: efsnet 1: model.sig is no signature known here")
