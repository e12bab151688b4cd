"""A small PACS in memory that answers as an Orthanc with DICOMweb does, and the service's connection to it."""

import io
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from service.audit.trail import Trail
from service.jobs.job import Subject
from service.metrics import Metrics
from service.pacs.answering import Answer, Result
from service.pacs.connection import Connection
from service.settings import Settings

URL = "http://pacs.test/dicom-web"


def instance(subject: Subject, modality: str = "US", **more: object) -> bytes:
    """A DICOM file that is no more than its header, of a patient whose name must be found nowhere."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    made.StudyInstanceUID, made.SeriesInstanceUID = subject.study_instance_uid, subject.series_instance_uid
    made.SOPInstanceUID, made.Modality = subject.sop_instance_uid, modality
    made.PatientName, made.PatientID, made.StudyDate = "Planted^Name", "PLANTED-ID", ""
    for keyword, value in more.items():
        setattr(made, keyword, value)
    file = io.BytesIO()
    dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()


def image(number: int = 1, study: str = "1.2") -> Subject:
    """One of the ultrasound images of a study."""
    return Subject(study, f"{study}.1", f"{study}.1.{number}")


class FakePacs:
    """Instances by their UID, a change log, and what a PACS may do wrong."""

    def __init__(self) -> None:
        self.instances: dict[str, tuple[Dataset, bytes]] = {}
        self.changes: list[str] = []
        self.changed_at = "20260102T101112"
        """When all that it holds came, as the change log says it."""
        self.requests: list[httpx2.Request] = []
        self.most = 10**6
        """Matches that it sends at once, however many are asked for."""
        self.fails: Callable[[httpx2.Request], httpx2.Response | None] = lambda _: None

    def add(self, subject: Subject, modality: str = "US", **more: object) -> None:
        """Takes an instance as from a scanner."""
        self.put(instance(subject, modality, **more))

    def put(self, content: bytes) -> None:
        """Takes a file; one that is there already stays as it is, and makes no change."""
        header = dcmread(io.BytesIO(content))
        uid = str(header.SOPInstanceUID)
        if uid not in self.instances:
            self.instances[uid] = header, content
            self.changes.append(uid)

    def of(self, modality: str) -> list[Dataset]:
        """What it holds of a modality."""
        return [header for header, _ in self.instances.values() if header.Modality == modality]

    def __call__(self, request: httpx2.Request) -> httpx2.Response:  # noqa: PLR0911 (one for each service)
        """Answers."""
        self.requests.append(request)
        if (failure := self.fails(request)) is not None:
            return failure
        path = request.url.path
        if not path.startswith("/dicom-web/"):
            return self._orthanc(path.strip("/").split("/"), request)
        parts = path.removeprefix("/dicom-web/").split("/")
        if request.method == "POST":
            return self._stow(request)
        if parts[-1] == "metadata":
            return self._json([json.loads(one.to_json()) for one in self._within(parts)])
        if parts[-1] in ("studies", "series", "instances"):
            return self._qido(parts, dict(request.url.params))
        found = self.instances.get(parts[-1])
        if found is None:
            return httpx2.Response(404)
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + found[1] + b"\r\n--b--\r\n"
        return httpx2.Response(
            200, content=body, headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
        )

    def _within(self, parts: list[str]) -> list[Dataset]:
        uids = dict(zip(parts[::2], parts[1::2], strict=False))
        return [
            header
            for header, _ in self.instances.values()
            if uids.get("studies", header.StudyInstanceUID) == header.StudyInstanceUID
            and uids.get("series", header.SeriesInstanceUID) == header.SeriesInstanceUID
            and uids.get("instances", header.SOPInstanceUID) == header.SOPInstanceUID
        ]

    def _qido(self, parts: list[str], query: dict[str, str]) -> httpx2.Response:
        key = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}[parts[-1]]
        found: dict[str, Dataset] = {}
        for header in self._within(parts[:-1]):
            if all(
                header.get(name) == wanted for name, wanted in query.items() if name in ("Modality", "SOPInstanceUID")
            ):
                found.setdefault(header[key].value, header)
        offset, limit = int(query.get("offset", 0)), min(int(query.get("limit", self.most)), self.most)
        matches = list(found.values())[offset : offset + limit]
        return self._json([json.loads(one.to_json()) for one in matches]) if matches else httpx2.Response(204)

    def _stow(self, request: httpx2.Request) -> httpx2.Response:
        content = request.read().split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0].rsplit(b"\r\n--", 1)[0]
        self.put(content)
        stored = {"00081155": {"vr": "UI", "Value": [str(dcmread(io.BytesIO(content)).SOPInstanceUID)]}}
        return self._json({"00081199": {"vr": "SQ", "Value": [stored]}})

    def _orthanc(self, parts: list[str], request: httpx2.Request) -> httpx2.Response:
        if parts == ["changes"]:
            since, limit = int(request.url.params["since"]), int(request.url.params["limit"])
            page = [
                {"ChangeType": "NewInstance", "ID": uid, "Seq": number, "Date": self.changed_at}
                for number, uid in enumerate(self.changes, 1)
            ][since:][:limit]
            last = page[-1]["Seq"] if page else len(self.changes)
            return self._json({"Changes": page, "Last": last, "Done": last == len(self.changes)})
        kind, orthanc_id = parts
        if kind == "instances":
            if orthanc_id not in self.instances:
                return httpx2.Response(404)
            series = str(self.instances[orthanc_id][0].SeriesInstanceUID)
            return self._json({"ParentSeries": series, "MainDicomTags": {"SOPInstanceUID": orthanc_id}})
        headers = [header for header, _ in self.instances.values()]
        header = next(one for one in headers if orthanc_id in (one.SeriesInstanceUID, one.StudyInstanceUID))
        tags = {name: str(header[name].value) for name in ("Modality", "StudyInstanceUID", "SeriesInstanceUID")}
        return self._json({"ParentStudy": str(header.StudyInstanceUID), "MainDicomTags": tags})

    def _json(self, answer: Any) -> httpx2.Response:
        return httpx2.Response(200, json=answer)


class FakeAnalysis:
    """Finds something in every image, and says so with a SEG and an SR of one version."""

    def __init__(self, version: str = "sha256:1") -> None:
        self.version = version
        self.found = True
        self.asked: list[str] = []

    def __call__(self, data: bytes, version: str | None) -> Answer:
        """The answer, whose UIDs follow from the image and the version."""
        header = dcmread(io.BytesIO(data))
        version = version or self.version
        self.asked.append(version)
        roles = ("SR", "SEG") if self.finds(str(header.SOPInstanceUID)) else ("SR",)
        about = str(header.StudyInstanceUID), str(header.SOPInstanceUID)
        return Answer(version, about, tuple(_result(header, role, version) for role in roles))

    def finds(self, sop_instance_uid: str) -> bool:
        """Whether there is something in an image."""
        return self.found


def _own_uid(*parts: str) -> str:
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(parts)).int}"


def _result(source: Dataset, role: str, version: str) -> Result:
    number = {"SEG": 9001, "SR": 9002}[role]
    name = _own_uid(version, source.SOPInstanceUID, role)
    subject = Subject(source.StudyInstanceUID, _own_uid(version, source.SOPInstanceUID, f"{role} series"), name)
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    content = instance(
        subject,
        role,
        SOPClassUID={"SEG": "1.2.840.10008.5.1.4.1.1.66.4", "SR": "1.2.840.10008.5.1.4.1.1.88.33"}[role],
        PatientID=source.PatientID,
        PatientName=source.PatientName,
        SeriesNumber=number,
        Manufacturer="EFSNet service",
        CurrentRequestedProcedureEvidenceSequence=[reference],
    )
    return Result(role, name, content)


@pytest.fixture
def pacs() -> FakePacs:
    """An empty PACS."""
    return FakePacs()


Connect = Callable[..., Connection]


@pytest.fixture
def connect(pacs: FakePacs, tmp_path: Path) -> Iterator[Connect]:
    """Connections of services that share a folder, with settings of the PACS; `folder` gives one another."""
    opened = []

    def made(folder: str = "state", max_dicom_bytes: int = 1_000_000, **settings: object) -> Connection:
        given = {"url": URL, "orthanc_url": "http://pacs.test", "write": True, **settings}
        found = Connection(
            Settings.model_validate(
                {
                    "state": tmp_path / folder,
                    "store": tmp_path / "store",
                    "pacs": given,
                    "max_dicom_bytes": max_dicom_bytes,
                }
            ),
            Metrics("0"),
            Trail(None),
            transport=httpx2.MockTransport(pacs),
        )
        opened.append(found)
        return found

    yield made
    for connection in opened:
        connection.stop()
