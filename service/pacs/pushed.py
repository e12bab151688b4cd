"""The STOW-RS door: a PACS that can only push tells of its images by sending them.

What is sent is read as far as its UIDs and dropped, and the job retrieves the image from the PACS: no pixel is kept,
and results go only where the image is.
"""

import io
import logging
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from efsnet.errors import ImageUndecodable
from service.dicom.source import BIG_ENDIAN, DEFLATED, IMPLICIT, is_dicom
from service.errors import BodyTooLarge
from service.jobs.job import Order, Subject
from service.pacs.multipart import Parts

if TYPE_CHECKING:
    from pydicom import Dataset

HEADER_BYTES = 65_536
"""Of an instance, in which its UIDs must stand: they are among its first attributes."""

MAX_INSTANCES = 10_000
"""In one request."""

FILE_META_AT = 132
"""Behind the preamble and the four letters (PS3.10 section 7.1)."""

SERIES_INSTANCE_UID = 0x0020000E
"""Tag of the last that is read."""

CANNOT_UNDERSTAND, DOES_NOT_MATCH = 0xC000, 0xA900
"""Failure reasons (PS3.18 section I.2.2)."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is known of an instance that was sent."""

    sop_class_uid: str
    sop_instance_uid: str
    order: Order | None = None
    """None for what is no ultrasound: it is taken, and nothing is done."""
    failure: int | None = None


async def read_pushed(
    body: AsyncIterator[bytes], content_type: str, *, study_instance_uid: str | None, max_instance_bytes: int
) -> list[Pushed]:
    """What of a STOW-RS request is to be done; holds no more of it than a header at a time.

    Raises:
        FormMalformed: The body is not what its Content-Type says.
        MediaTypeUnsupported: It is no multipart of DICOM.
        BodyTooLarge: There are too many instances, or one is too large.
    """
    parts = Parts(content_type, keep_bytes=HEADER_BYTES, max_part_bytes=max_instance_bytes)
    pushed: list[Pushed] = []
    async for chunk in body:
        pushed += [_pushed(header, study_instance_uid) for header in parts.feed(chunk)]
        if len(pushed) > MAX_INSTANCES:
            raise BodyTooLarge(f"A request has at most {MAX_INSTANCES:,} instances: send the rest in another.")
    parts.close()
    return pushed


def _pushed(header: bytes, study_instance_uid: str | None) -> Pushed:
    try:
        found = _beginning(header)
        tags = ("SOPClassUID", "SOPInstanceUID", "Modality", "StudyInstanceUID", "SeriesInstanceUID")
        sop_class, instance, modality, study, series = (str(found.get(tag) or "") for tag in tags)
        subject = Subject(study, series, instance)
    except Exception:  # noqa: BLE001 - pydicom meets damaged bytes with nearly any
        return Pushed("", "", failure=CANNOT_UNDERSTAND)
    if study_instance_uid not in (None, study):
        return Pushed(sop_class, instance, failure=DOES_NOT_MATCH)
    return Pushed(sop_class, instance, Order(subject) if modality == "US" else None)


def _beginning(header: bytes) -> "Dataset":
    """The elements of a file up to the UIDs; what comes after them may be missing."""
    from pydicom.filereader import read_dataset  # noqa: PLC0415 (heavy, and needed only where images are pushed)

    if not is_dicom(header):
        raise ImageUndecodable("This is no DICOM file.")
    # Values of patients stand in what pydicom logs.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    file = io.BytesIO(header)
    file.seek(FILE_META_AT)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)  # noqa: FBT003
    syntax = str(meta.TransferSyntaxUID)
    if syntax == DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        file = io.BytesIO(inflater.decompress(header[file.tell() :], HEADER_BYTES))
    little = syntax != BIG_ENDIAN
    return read_dataset(file, syntax == IMPLICIT, little, stop_when=lambda tag, _vr, _length: tag > SERIES_INSTANCE_UID)


def stow_answer(pushed: list[Pushed]) -> dict[str, object]:
    """The answer to a STOW-RS request in the DICOM JSON model (PS3.18 section I.2)."""

    def references(of: list[Pushed]) -> dict[str, object]:
        return {"vr": "SQ", "Value": [_reference(instance) for instance in of]}

    taken = [instance for instance in pushed if instance.failure is None]
    failed = [instance for instance in pushed if instance.failure is not None]
    answer: dict[str, object] = {"00081199": references(taken)} if taken else {}
    if failed:
        answer["00081198"] = references(failed)
    return answer


def _reference(instance: Pushed) -> dict[str, object]:
    reference: dict[str, object] = {}
    if instance.sop_instance_uid:
        reference["00081150"] = {"vr": "UI", "Value": [instance.sop_class_uid]}
        reference["00081155"] = {"vr": "UI", "Value": [instance.sop_instance_uid]}
    if instance.failure is not None:
        reference["00081197"] = {"vr": "US", "Value": [instance.failure]}
    return reference
