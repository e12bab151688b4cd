"""The loop with a real Orthanc: every image is answered in its study once, whatever is killed when."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image as Pillow

from service.jobs.job import Subject
from tests.end_to_end.orthanc import Orthanc
from tests.end_to_end.pacs_service import is_found
from tests.end_to_end.processes import clean_environment, free_port, wait_until_ready
from tests.service.dicom import instances
from tests.service.dicom.instances import region
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
        self.command = ["tests.end_to_end.pacs_service"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and does not wait for it to be ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self.command, str(self._port)],
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

    def await_counts(self, **expected: int) -> None:
        """Returns once there are so many jobs in each state, or fails."""
        end = time.monotonic() + 180
        while (found := self.counts()) != expected:
            if time.monotonic() > end:
                pytest.fail(f"The jobs are {found}, not {expected}.")
            time.sleep(0.2)

    def await_words(self, words: str) -> None:
        """Returns once they stand in its log, or fails."""
        end = time.monotonic() + 180
        while words not in self.log.read_text():
            if time.monotonic() > end:
                pytest.fail(f"{words!r} is not in the log.")
            time.sleep(0.2)


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


def expected(subjects: list[Subject]) -> Counter[tuple[str, str]]:
    """One SR about each image, and a SEG about each with a finding."""
    uids = [subject.sop_instance_uid or "" for subject in subjects]
    return Counter([("SR", uid) for uid in uids] + [("SEG", uid) for uid in uids if is_found(uid)])


def answered(orthanc: Orthanc) -> Counter[tuple[str, str]]:
    """Which images the results of each modality are about."""
    return Counter(
        (modality, uid)
        for modality in ("SR", "SEG")
        for header in orthanc.headers(modality)
        for uid in referenced(header)
    )


def referenced(header: object) -> set[str]:
    """UIDs of the images that a result refers to, at whatever depth."""
    items = list(header.values()) if isinstance(header, dict) else header if isinstance(header, list) else []
    found = {uid for item in items for uid in referenced(item)}
    if isinstance(header, dict) and header.get("ReferencedSOPInstanceUID", "").startswith("1.2.7."):
        found.add(header["ReferencedSOPInstanceUID"])
    return found


def await_answers(orthanc: Orthanc, number: int, seconds: float = 600) -> None:
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


@pytest.mark.requirement("PACS-6")
def test_whatever_is_killed_each_image_is_answered_once(orthanc: Orthanc, services: list[Service]) -> None:
    """200 images in 50 studies, 30 kills of two replicas and the PACS, the cursor lost once."""
    chance = random.Random(SEED)  # noqa: S311 (a test)
    subjects = [image(study, number) for study in range(STUDIES) for number in range(IMAGES)]
    chance.shuffle(subjects)
    victims: list[Orthanc | Service] = [orthanc, *services]
    for service in services:
        service.start()
        service.wait_until_ready()
    scanners = ThreadPoolExecutor(2)
    for kill in range(KILLS):
        for subject in subjects[kill::KILLS]:
            scanners.submit(orthanc.send, scan(subject))
        time.sleep(chance.uniform(0.2, 2.0))
        victim = chance.choice(victims)
        victim.kill()
        if kill == KILLS // 2:
            with sqlite3.connect(services[0].folder / "state" / "jobs.sqlite", timeout=30) as database:
                database.execute("DELETE FROM cursors")
        time.sleep(chance.uniform(0.0, 0.5))
        victim.start()
    meanwhile = len(orthanc.results())
    scanners.shutdown()
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


@pytest.mark.requirement("PACS-10")
def test_the_backfill_answers_what_was_there_before(orthanc: Orthanc, services: list[Service]) -> None:
    """By a search for studies; the dry run before it has stored nothing; to give the command again changes nothing."""
    service = services[0]
    service.environment["EFSNET_PACS_WRITE"] = "false"
    subjects = [image(study, number) for study in range(3) for number in range(2)]
    for subject in subjects:
        orthanc.send(scan(subject))
    service.start()
    service.wait_until_ready()
    service.await_counts(done=len(subjects))
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


@pytest.mark.requirement("PACS-9")
def test_a_pacs_that_is_away_or_lets_nobody_in_drops_nothing(orthanc: Orthanc, services: list[Service]) -> None:
    """Orders wait while the PACS is down, and while the password is wrong, and are answered afterwards."""
    service = services[0]
    service.environment |= {"EFSNET_PACS_USER": "efsnet", "EFSNET_PACS_PASSWORD": "wrong"}
    subject = image(1, 2)
    orthanc.send(scan(subject))
    orthanc.kill()
    service.start()
    service.wait_until_ready()
    service.await_words("cannot be reached")
    orthanc.configure(AuthenticationEnabled=True, RegisteredUsers={"efsnet": "right", "test": "test"})
    orthanc.authenticate("test", "test")
    orthanc.start()
    service.await_words("does not let us in (401)")
    assert orthanc.results() == []

    service.kill(signal.SIGTERM)
    service.environment["EFSNET_PACS_PASSWORD"] = "right"  # noqa: S105
    service.start()
    service.wait_until_ready()
    await_answers(orthanc, 2)
    assert answered(orthanc) == expected([subject])


@pytest.mark.requirement("PACS-9")
def test_a_pacs_that_is_down_for_a_minute_drops_nothing(orthanc: Orthanc, services: list[Service]) -> None:
    """It is killed at work, for sixty seconds; orders that come meanwhile are taken, and all are answered later."""
    service = services[0]
    early = [image(study, number) for study in range(10) for number in range(4)]
    later = [image(20, number) for number in range(4)]
    for subject in later:
        orthanc.send(scan(subject))
    service.environment["EFSNET_PACS_DAYS"] = "0"
    service.start()
    service.wait_until_ready()
    for subject in early:
        orthanc.send(scan(subject))
    orthanc.kill()
    until = time.monotonic() + 60
    orders = [{"study_instance_uid": image(20, 0).study_instance_uid}]
    orders += [{"study_instance_uid": image(study, 0).study_instance_uid} for study in range(3)]
    statuses = {httpx2.post(f"{service.url}/v1/jobs", json=order).status_code for order in orders}
    while time.monotonic() < until:
        statuses.add(httpx2.get(f"{service.url}/readyz").status_code)
        time.sleep(2)
    meanwhile = service.counts()
    orthanc.start()
    await_answers(orthanc, sum(expected(early + later).values()))
    service.await_counts(done=len(early + later) + len(orders))
    time.sleep(5)  # whatever would come twice has come by now

    assert statuses == {202, 200}
    assert meanwhile.get("queued", 0) > 0
    assert "failed" not in meanwhile
    assert answered(orthanc) == expected(early + later)
    assert service.counts() == {"done": len(early + later) + len(orders)}


def real(busi: Path, name: str, number: int, **others: object) -> bytes:
    """An image of BUSI as a scanner would send it, of a patient whose name must be found nowhere."""
    pixels = np.asarray(Pillow.open(busi / name).convert("L"))
    subject = image(number, 1)
    uids = {
        "StudyInstanceUID": subject.study_instance_uid,
        "SeriesInstanceUID": subject.series_instance_uid,
        "SOPInstanceUID": subject.sop_instance_uid,
    }
    whole = region((0, 0, pixels.shape[1] - 1, pixels.shape[0] - 1))
    return instances.part10(instances.instance(pixels, regions=[whole], **uids, **others))


def test_real_images_are_answered_by_the_version_that_ships(
    orthanc: Orthanc, services: list[Service], busi: Path
) -> None:
    """The service as people start it: an SR about each image, a SEG about each with a lesion, whoever comes twice.

    No name of a patient is in its log, its metrics, its jobs, its answers or its files; also not of an image that is
    damaged, or none that can be segmented.
    """
    service = services[0]
    service.command = ["service", "serve", "--port"]
    names = ["benign/benign (51).png", "malignant/malignant (75).png", "normal/normal (9).png"]
    sent = [real(busi, name, number) for number, name in enumerate(names)]
    sent += [real(busi, names[0], 3, SOPClassUID=instances.CT), real(busi, names[0], 4, Rows=10_000)]
    for content in sent:
        orthanc.send(content)
    service.start()
    service.wait_until_ready()
    service.await_counts(done=len(sent) - 1, failed=1)  # the damaged one is for people to see
    httpx2.post(f"{service.url}/v1/jobs", json={"study_instance_uid": image(0, 1).study_instance_uid})
    told = [httpx2.get(f"{service.url}{path}").text for path in ("/metrics", "/v1/jobs", "/readyz")]
    told += [httpx2.post(f"{service.url}/v1/pacs/test", timeout=30).text]
    service.kill(signal.SIGTERM)
    files = [path.read_bytes() for path in service.folder.rglob("*") if path.is_file()]

    about = answered(orthanc)
    assert {uid for modality, uid in about if modality == "SR"} == {f"1.2.7.{number}.1.1" for number in range(3)}
    assert {uid for modality, uid in about if modality == "SEG"} == {"1.2.7.0.1.1", "1.2.7.1.1.1"}
    assert set(about.values()) == {1}
    assert all("planted" not in text.lower() for text in told)
    assert all(b"planted" not in content.lower() for content in files)
    assert {header["PatientID"] for header in orthanc.headers("SR")} == {instances.PATIENT_ID}
