"""The STOW-RS door: a PACS that can only push tells of its images by sending them.

What is sent is read as far as its UIDs and dropped, and the job retrieves the image from the PACS: no pixel is kept,
and results go only where the image is.
"""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

from service.errors import BodyTooLarge, UIDInvalid
from service.jobs.job import Order, Subject
from service.pacs.multipart import Parts

HEADER_BYTES = 65_536
"""Of an instance, in which its UIDs must stand: they are among its first attributes."""

MAX_INSTANCES = 10_000
"""In one request."""

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
    from pydicom import dcmread  # noqa: PLC0415 (heavy, and needed only where images are pushed)
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415

    tags = ["SOPClassUID", "SOPInstanceUID", "Modality", "StudyInstanceUID", "SeriesInstanceUID"]
    try:
        # Reads up to the last of these; the file is cut off after it.
        found = dcmread(io.BytesIO(header), specific_tags=list(tags), stop_before_pixels=True)
        sop_class, instance, modality, study, series = (str(found.get(tag) or "") for tag in tags)
        subject = Subject(study, series, instance)
    except (InvalidDicomError, UIDInvalid, ValueError, TypeError, KeyError, EOFError, AttributeError, OSError):
        return Pushed("", "", failure=CANNOT_UNDERSTAND)
    if study_instance_uid not in (None, study):
        return Pushed(sop_class, instance, failure=DOES_NOT_MATCH)
    return Pushed(sop_class, instance, Order(subject) if modality == "US" else None)


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
