"""The loop with a real Orthanc: every image is answered in its study once, whatever is killed when."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from service.jobs.job import Subject
from tests.end_to_end.orthanc import Orthanc
from tests.end_to_end.pacs_service import is_found
from tests.end_to_end.processes import clean_environment, free_port, wait_until_ready
from tests.service.pacs.conftest import instance

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

KILLS = 30
STUDIES, IMAGES = 50, 4
SEED = 6


class Service:
    """One replica of the service."""

    def __init__(self, folder: Path, orthanc: Orthanc, **settings: str) -> None:
        self.folder = folder
        self.log = folder / "service.log"
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.environment = {
            "EFSNET_STORE": str(folder / "store"),
            "EFSNET_STATE": str(folder / "state"),
            "EFSNET_PROVIDER": "cpu",
            "EFSNET_WORKERS": "1",
            "EFSNET_PACS_URL": f"{orthanc.url}/dicom-web",
            "EFSNET_PACS_ORTHANC_URL": orthanc.url,
            "EFSNET_PACS_WRITE": "true",
            "EFSNET_PACS_POLL_S": "0.2",
            "EFSNET_PACS_TIMEOUT_S": "5",
        } | settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and does not wait for it to be ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.end_to_end.pacs_service", str(self._port)],
                env=clean_environment(**self.environment),
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Returns once it answers."""
        assert self._process is not None
        wait_until_ready(self.url, self._process)

    def kill(self, kind: signal.Signals = signal.SIGKILL) -> None:
        """Ends it as a power cut would, or as the operator does."""
        if self._process:
            self._process.send_signal(kind)
            self._process.wait(timeout=60)
            self._process = None

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        answer: dict[str, int] = httpx2.get(f"{self.url}/v1/jobs", timeout=30).json()["counts"]
        return answer


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """An empty Orthanc."""
    made = Orthanc(tmp_path / "orthanc")
    made.start()
    yield made
    made.close()


@pytest.fixture
def services(tmp_path: Path, orthanc: Orthanc) -> Iterator[list[Service]]:
    """Two replicas that share their database, not started."""
    made = [Service(tmp_path / "service", orthanc) for _ in range(2)]
    made[1].log = tmp_path / "service" / "other.log"
    yield made
    for service in made:
        service.kill()


def image(study: int, number: int) -> Subject:
    """An image of a study."""
    return Subject(f"1.2.7.{study}", f"1.2.7.{study}.1", f"1.2.7.{study}.1.{number}")


def scan(subject: Subject) -> bytes:
    """Its DICOM file; a patient for each study."""
    return instance(subject, PatientID=f"PLANTED-ID-{subject.study_instance_uid}", Rows=8, Columns=8)


def send_all(orthanc: Orthanc, subjects: list[Subject]) -> None:
    """Sends their files, one after the other."""
    for subject in subjects:
        orthanc.send(scan(subject))


def expected(subjects: list[Subject]) -> Counter[tuple[str, str]]:
    """One SR about each image, and a SEG about each with a finding."""
    uids = [subject.sop_instance_uid or "" for subject in subjects]
    return Counter([("SR", uid) for uid in uids] + [("SEG", uid) for uid in uids if is_found(uid)])


def answered(orthanc: Orthanc) -> Counter[tuple[str, str]]:
    """Which images the results of each modality are about."""
    about = "CurrentRequestedProcedureEvidenceSequence"
    return Counter(
        (modality, header[about][0]["ReferencedSOPInstanceUID"])
        for modality in ("SR", "SEG")
        for header in orthanc.headers(modality)
    )


def await_answers(orthanc: Orthanc, number: int, seconds: float = 180) -> None:
    """Returns once there are so many results, or fails."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if len(orthanc.results()) >= number:
                return
        except (httpx2.TransportError, httpx2.HTTPStatusError):
            pass  # it was killed
        time.sleep(0.5)
    pytest.fail(f"{len(orthanc.results())} of {number} results came in {seconds:g} s.")


def test_whatever_is_killed_each_image_is_answered_once(orthanc: Orthanc, services: list[Service]) -> None:
    """200 images in 50 studies, 30 kills of two replicas and the PACS, the cursor lost once."""
    chance = random.Random(SEED)  # noqa: S311 (a test)
    subjects = [image(study, number) for study in range(STUDIES) for number in range(IMAGES)]
    chance.shuffle(subjects)
    victims: list[Orthanc | Service] = [orthanc, *services]
    for service in services:
        service.start()
        service.wait_until_ready()
    scanning = threading.Thread(target=send_all, args=(orthanc, subjects))
    scanning.start()
    for kill in range(KILLS):
        time.sleep(chance.uniform(0.2, 2.0))
        victim = chance.choice(victims)
        victim.kill()
        if kill == KILLS // 2:
            with sqlite3.connect(services[0].folder / "state" / "jobs.sqlite", timeout=30) as database:
                database.execute("DELETE FROM cursors")
        time.sleep(chance.uniform(0.0, 0.5))
        victim.start()
    meanwhile = len(orthanc.results())
    scanning.join()
    await_answers(orthanc, sum(expected(subjects).values()))
    time.sleep(5)  # whatever would come twice has come by now

    assert answered(orthanc) == expected(subjects)
    assert services[0].counts() == {"done": len(subjects)}
    assert meanwhile > 0  # the kills met work


def test_what_is_delivered_five_times_is_answered_once(orthanc: Orthanc, services: list[Service]) -> None:
    """Twice at once, by hint, by push and by the change log; and a late image in the old series is answered too."""
    services[0].start()
    services[0].wait_until_ready()
    first, late = image(1, 2), image(1, 3)
    orthanc.send(scan(first))
    order = {
        "study_instance_uid": first.study_instance_uid,
        "series_instance_uid": first.series_instance_uid,
        "sop_instance_uid": first.sop_instance_uid,
    }
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda _: httpx2.post(f"{services[0].url}/v1/jobs", json=order), range(4)):
            pass
    orthanc.send(scan(first))
    await_answers(orthanc, 2)
    orthanc.send(scan(late))
    await_answers(orthanc, 3)
    time.sleep(3)

    assert answered(orthanc) == expected([first, late])


@pytest.mark.skipif(shutil.which("storescu") is None, reason="needs Debian's dcmtk")
def test_what_a_scanner_sends_is_answered(orthanc: Orthanc, services: list[Service], tmp_path: Path) -> None:
    """By C-STORE into Orthanc, as scanners and most PACS send."""
    services[0].start()
    services[0].wait_until_ready()
    file = tmp_path / "image.dcm"
    file.write_bytes(scan(image(1, 2)))
    subprocess.run(["storescu", "127.0.0.1", str(orthanc.dicom_port), file], check=True)
    await_answers(orthanc, 2)

    assert answered(orthanc) == expected([image(1, 2)])


def test_a_hint_of_orthanc_is_an_order(repository: Path, orthanc: Orthanc, services: list[Service]) -> None:
    """The Lua script tells the service of an image, though nothing reads the change log."""
    service = services[0]
    service.environment |= {"EFSNET_PACS_SWEEP_S": "100000"}
    del service.environment["EFSNET_PACS_ORTHANC_URL"]
    service.start()
    service.wait_until_ready()
    orthanc.kill()
    orthanc.configure(LuaScripts=[str(repository / "docker" / "orthanc" / "hint.lua")])
    orthanc.start(EFSNET_URL=service.url)
    orthanc.send(scan(image(1, 2)))
    await_answers(orthanc, 2, seconds=30)

    assert answered(orthanc) == expected([image(1, 2)])


def test_the_backfill_answers_what_was_there_before(orthanc: Orthanc, services: list[Service]) -> None:
    """By a search for studies; the dry run before it has stored nothing; to give the command again changes nothing."""
    service = services[0]
    service.environment["EFSNET_PACS_WRITE"] = "false"
    subjects = [image(study, number) for study in range(3) for number in range(2)]
    for subject in subjects:
        orthanc.send(scan(subject))
    service.start()
    service.wait_until_ready()
    end = time.monotonic() + 60
    while service.counts() != {"done": len(subjects)} and time.monotonic() < end:
        time.sleep(0.2)
    assert orthanc.results() == []

    service.kill(signal.SIGTERM)
    service.environment["EFSNET_PACS_WRITE"] = "true"
    service.start()
    service.wait_until_ready()
    command = [sys.executable, "-m", "service", "backfill", "--query", "PatientID=PLANTED-ID-*"]
    for _ in range(2):
        told = subprocess.run(
            command, env=clean_environment(**service.environment), check=True, capture_output=True, text=True
        )
        assert "3 studies are queued" in told.stderr

    assert answered(orthanc) == expected(subjects)


def test_a_pacs_that_is_away_or_lets_nobody_in_drops_nothing(orthanc: Orthanc, services: list[Service]) -> None:
    """Orders wait while the PACS is down, and while the password is wrong, and are answered afterwards."""
    service = services[0]
    service.environment |= {"EFSNET_PACS_USER": "efsnet", "EFSNET_PACS_PASSWORD": "wrong"}
    subject = image(1, 2)
    orthanc.send(scan(subject))
    orthanc.kill()
    service.start()
    service.wait_until_ready()
    time.sleep(3)
    orthanc.configure(AuthenticationEnabled=True, RegisteredUsers={"efsnet": "right", "test": "test"})
    orthanc.authenticate("test", "test")
    orthanc.start()
    time.sleep(5)
    assert orthanc.results() == []
    assert "does not let us in (401)" in service.log.read_text()

    service.kill(signal.SIGTERM)
    service.environment["EFSNET_PACS_PASSWORD"] = "right"  # noqa: S105
    service.start()
    service.wait_until_ready()
    await_answers(orthanc, 2)
    assert answered(orthanc) == expected([subject])


def test_no_name_of_a_patient_is_written_anywhere(orthanc: Orthanc, services: list[Service]) -> None:
    """Not in the log, the metrics, the jobs, an answer, nor a file, though things go wrong."""
    service = services[0]
    service.environment["EFSNET_PACS_ORTHANC_URL"] = orthanc.url
    service.start()
    service.wait_until_ready()
    subjects = [image(1, number) for number in range(4)]
    for subject in subjects:
        orthanc.send(scan(subject))
    gone = {"study_instance_uid": "1.9", "series_instance_uid": "1.9.1", "sop_instance_uid": "1.9.1.1"}
    httpx2.post(f"{service.url}/v1/jobs", json=gone)
    await_answers(orthanc, 6)
    told = [httpx2.get(f"{service.url}{path}").text for path in ("/metrics", "/v1/jobs", "/readyz")]
    told += [httpx2.post(f"{service.url}/v1/pacs/test", timeout=30).text]
    service.kill(signal.SIGTERM)
    files = [path.read_bytes() for path in service.folder.rglob("*") if path.is_file()]

    assert all("planted" not in text.lower() for text in told)
    assert all(b"planted" not in content.lower() for content in files)
