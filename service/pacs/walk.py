"""Tries the connection to a PACS step by step, and says which step fails and why."""

import io
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from service.errors import PacsRefused, ServiceError
from service.pacs.answers import STUDY, value
from service.pacs.client import PacsClient

State = Literal["ok", "failed", "skipped"]

TEST_PATIENT = "EFSNET-TEST"


def _own_uid(name: str) -> str:
    """Always the same, so that however many tests leave one object."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'efsnet connection test {name}').int}"


TEST_STUDY, TEST_SERIES, TEST_INSTANCE = map(_own_uid, ("study", "series", "instance"))


@dataclass(frozen=True, slots=True)
class Step:
    """How one step went."""

    name: str
    state: State
    detail: str
    duration_ms: float


class Skipped(Exception):
    """There is a reason not to do a step."""


class Walk:
    """Searches, retrieves, stores a marked test object and finds it again, and reads Orthanc's change log.

    Where nothing may be written to the PACS, that is skipped; so is the change log of a PACS that is no Orthanc.
    """

    def __init__(self, client: PacsClient, *, write: bool, orthanc: bool) -> None:
        self._client = client
        self._write = write
        self._orthanc = orthanc

    def steps(self) -> list[Step]:
        """How each step goes; none keeps the next from being tried."""
        acts = {"query": self._query, "retrieve": self._retrieve, "store": self._store, "find": self._find}
        if self._orthanc:
            acts["changes"] = self._changes
        return [_step(name, act) for name, act in acts.items()]

    def _query(self) -> str:
        found = self._client.search("studies", ModalitiesInStudy="US", limit=1)
        return "it answers, and has studies with ultrasound" if found else "it answers, and has no ultrasound"

    def _retrieve(self) -> str:
        for study in self._client.search("studies", ModalitiesInStudy="US", limit=1):
            for subject in self._client.instances(value(study, STUDY))[:1]:
                return f"an instance of {len(self._client.retrieve(subject)):,} bytes"
        raise Skipped("there is no ultrasound to retrieve: send one image, and test again")

    def _store(self) -> str:
        if not self._write:
            raise Skipped("EFSNET_PACS_WRITE is not true, so that nothing is written")
        self._client.store(TEST_STUDY, _test_object())
        return f"a test object of the patient {TEST_PATIENT}, which may be deleted"

    def _find(self) -> str:
        if not self._write:
            raise Skipped("nothing was stored")
        if not self._client.holds(TEST_STUDY, TEST_INSTANCE):
            raise PacsRefused("The PACS said that it stored the test object, and does not find it.")
        return "the test object is found"

    def _changes(self) -> str:
        self._client.orthanc("changes", since=0, limit=1)
        return "Orthanc's change log can be read"


def _step(name: str, act: Callable[[], str]) -> Step:
    since = time.perf_counter()
    state: State = "ok"
    try:
        detail = act()
    except Skipped as error:
        state, detail = "skipped", str(error)
    except ServiceError as error:
        state, detail = "failed", str(error)
    return Step(name, state, detail, (time.perf_counter() - since) * 1000)


def _test_object() -> bytes:
    """A Secondary Capture of 8 by 8 black pixels that says what it is."""
    from pydicom import Dataset, dcmwrite  # noqa: PLC0415 (heavy, and needed only here)
    from pydicom.dataset import FileMetaDataset  # noqa: PLC0415
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage  # noqa: PLC0415

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, TEST_INSTANCE
    made.StudyInstanceUID, made.SeriesInstanceUID = TEST_STUDY, TEST_SERIES
    made.PatientID, made.PatientName = TEST_PATIENT, "EFSNET^CONNECTION TEST"
    made.PatientBirthDate = made.PatientSex = made.StudyDate = made.StudyTime = made.AccessionNumber = ""
    made.ReferringPhysicianName = made.StudyID = made.PatientOrientation = ""
    made.Modality, made.ConversionType = "OT", "SYN"
    made.StudyDescription = made.SeriesDescription = "EFSNet test, may be deleted"
    made.SeriesNumber = made.InstanceNumber = 1
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows = made.Columns = 8
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PixelData = bytes(64)
    file = io.BytesIO()
    dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()
