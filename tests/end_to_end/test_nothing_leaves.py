"""Nothing leaves the machine and nothing of a patient stays on it, whatever is asked of the service."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from model_store.store import ModelStore
from service.audit.chain import verify
from tests.end_to_end.everything import PLANTED, files, picture
from tests.end_to_end.processes import clean_environment, free_port
from tests.service.dicom.instances import instance, part10, region

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not all(map(shutil.which, ("strace", "unshare", "ip"))), reason="needs strace, unshare and ip"),
]

NAME = PLANTED.partition("^")[0].encode()


@dataclass(frozen=True)
class Seen:
    """What a service did while everything was asked of it."""

    trace: tuple[str, ...]
    """Every connection, message and file, as strace writes them."""
    told: str
    """All answers."""
    log: bytes
    home: Path
    """All that it may write to."""

    def written(self) -> list[Path]:
        """Files that were there afterwards."""
        return [path for path in self.home.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, published_store_for_all: ModelStore) -> Seen:
    """A service with an audit trail and corrections off, asked everything where there is no network."""
    folder, home = tmp_path_factory.mktemp("seen"), tmp_path_factory.mktemp("home")
    (home / "tmp").mkdir()
    made = instance(picture()[:600, :800], regions=[region((0, 0, 799, 599))], PatientName=PLANTED, PatientID=PLANTED)
    (folder / "instance.dcm").write_bytes(part10(made))
    script = Path(__file__).with_name("everything.py")
    environment = clean_environment(
        EFSNET_STORE=str(published_store_for_all.root),
        EFSNET_STATE=str(home / "state"),
        EFSNET_AUDIT_FILE=str(home / "audit" / "audit.jsonl"),
        EFSNET_PROVIDER="cpu",
        HOME=str(home),
        TMPDIR=str(home / "tmp"),
        PYTHONPATH=str(Path(__file__).resolve().parents[2]),
        PYTHONDONTWRITEBYTECODE="1",
    )
    alone = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    ran = subprocess.run(
        [*alone, sys.executable, script, folder, str(free_port())],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if "Operation not permitted" in ran.stderr:
        pytest.skip("this machine gives nobody a network namespace or strace")
    assert ran.returncode == 0, ran.stderr[-3000:] + (folder / "log").read_text(encoding="utf-8")[-3000:]
    trace = (folder / "trace").read_text(encoding="utf-8", errors="replace").splitlines()
    return Seen(tuple(trace), (folder / "told").read_text(encoding="utf-8"), (folder / "log").read_bytes(), home)


@pytest.fixture(scope="module")
def published_store_for_all(
    tmp_path_factory: pytest.TempPathFactory, tiny_draft: object, tiny_contents: object
) -> ModelStore:
    """A store with a promoted version."""
    store = ModelStore(tmp_path_factory.mktemp("store"))
    store.publish("efsnet", tiny_draft, tiny_contents)  # type: ignore[arg-type]
    store.promote("efsnet", "production", 1, by="the tests", why="the first")
    return store


@pytest.mark.requirement("PRIV-1")
def test_no_connection_leaves_the_machine(seen: Seen) -> None:
    """None is even tried: no telemetry, no name looked up."""
    addresses = set(re.findall(r"sin6?_addr=[^,}]*?\"([^\"]+)\"", "\n".join(seen.trace)))

    assert any("openat" in line for line in seen.trace)
    assert addresses <= {"127.0.0.1", "::1"}


@pytest.mark.requirement("PRIV-2")
def test_nothing_is_written_but_the_services_own(seen: Seen, published_store_for_all: ModelStore) -> None:
    """State and audit trail: no upload touches the disk, however large, nor does a temporary file."""
    own = (f"{seen.home}/state", f"{seen.home}/audit", str(published_store_for_all.root), "/dev/", "/proc/")
    # Without the result: a call that another thread interrupts has it on a line of its own.
    opening = re.compile(r'\bopen(?:at)?\((?:AT_FDCWD, )?"([^"]*)", [^)=]*O_(?:WRONLY|RDWR|CREAT)')
    making = re.compile(r'\b(?:mkdir|rename|link|symlink|creat)\w*\([^"]*"([^"]*)"')
    found = (opening.search(line) or making.search(line) for line in seen.trace if "= -1 " not in line)
    writing = [match[1] for match in found if match]

    assert writing
    assert [] == [path for path in writing if not path.startswith(own)]
    assert [] == list((seen.home / "tmp").iterdir())


def test_no_picture_is_in_what_was_written(seen: Seen) -> None:
    """Neither a file as it was sent, nor its pixels."""
    needles = [content[place : place + 48] for content in files().values() for place in (1000, len(content) // 2)]
    needles += [np.ascontiguousarray(picture()[row]).tobytes()[:48] for row in (10, 700)]

    for path in seen.written():
        content = path.read_bytes()
        assert [] == [needle for needle in needles if needle in content], path


@pytest.mark.requirement("PRIV-3")
def test_no_patients_name_stays_anywhere(seen: Seen) -> None:
    """Answers, metrics, log, audit trail, disk: nowhere, though it was in all that was sent."""
    kept = {str(path.relative_to(seen.home)): path.read_bytes() for path in seen.written()}
    kept |= {"answers": seen.told.encode(), "log": seen.log}

    assert [] == [where for where, content in kept.items() if NAME.lower() in content.lower()]


def test_all_of_it_is_in_the_audit_trail(seen: Seen) -> None:
    """From the start to the end of the service, with a hash of each image."""
    written = (seen.home / "audit" / "audit.jsonl").read_bytes().splitlines()
    verify(written)
    lines = [json.loads(line) for line in written]

    assert ("service_started", "service_stopped") == (lines[0]["act"], lines[-1]["act"])
    assert sum(line["act"] == "image_segmented" and line["outcome"] == "success" for line in lines) >= 13
    assert all("image" in line for line in lines if line["act"] == "image_segmented" and line["outcome"] == "success")
