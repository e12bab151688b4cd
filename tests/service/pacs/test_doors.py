"""How the service learns of images: Orthanc's change log, searches, and what is pushed."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from threading import Event

import httpx2
import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from service.errors import BodyTooLarge, FormMalformed, MediaTypeUnsupported, PacsUnavailable
from service.jobs.job import Order, Priority, Subject
from service.jobs.ledger import Cursor
from service.pacs.changes import ChangeLog
from service.pacs.connection import Connection
from service.pacs.multipart import write_parts
from service.pacs.pushed import CANNOT_UNDERSTAND, DOES_NOT_MATCH, Pushed, read_pushed, stow_answer
from service.pacs.sweep import Sweep
from tests.service.pacs.conftest import Connect, FakeAnalysis, FakePacs, image, instance

CONTENT_TYPE = 'multipart/related; type="application/dicom"; boundary=b'
FOREVER = 100_000


def log_of(connection: Connection, days: int = FOREVER) -> ChangeLog:
    """The change log, read on from where the connection's database says."""
    return ChangeLog(connection.client, connection.queue, Cursor(connection._database, "changes"), days=days)


def ordered(connection: Connection) -> set[str | None]:
    """SOP Instance UIDs of all jobs."""
    return {job.order.subject.sop_instance_uid for job in connection.queue.newest(state=None, limit=1000)}


def test_each_new_ultrasound_image_is_ordered(pacs: FakePacs, connect: Connect) -> None:
    """Results of ours, which are new instances too, are not: else they would be analysed for ever."""
    pacs.add(image(1))
    pacs.add(Subject("1.2", "1.2.9", "1.2.9.1"), "SR")
    connection = connect()
    log_of(connection).read()
    pacs.add(image(2))
    log_of(connection).read()

    assert ordered(connection) == {"1.2.1.1", "1.2.1.2"}


def test_a_long_log_is_read_page_by_page(pacs: FakePacs, connect: Connect) -> None:
    """More is there until the end is reached."""
    for number in range(1, 151):
        pacs.add(image(number))
    connection = connect()

    assert [log_of(connection).read(), log_of(connection).read()] == [True, False]
    assert len(ordered(connection)) == 150


def test_a_lost_cursor_loses_nothing(pacs: FakePacs, connect: Connect) -> None:
    """The log is read from its beginning, and what is known stays one job."""
    pacs.add(image(1))
    connection = connect()
    log_of(connection).read()
    pacs.add(image(2))
    cursor = Cursor(connection._database, "changes")
    assert cursor.move(cursor.read(), "0 replay")
    log_of(connection).read()

    assert ordered(connection) == {"1.2.1.1", "1.2.1.2"}


def test_a_replaced_orthanc_is_read_from_its_beginning(pacs: FakePacs, connect: Connect) -> None:
    """A log that ends before the cursor is another one."""
    pacs.add(image(1))
    connection = connect()
    assert Cursor(connection._database, "changes").move(None, "70")

    assert log_of(connection).read()
    log_of(connection).read()
    assert ordered(connection) == {"1.2.1.1"}


def test_a_first_look_leaves_the_old_to_the_backfill(pacs: FakePacs, connect: Connect) -> None:
    """Years of images do not go before today's; once the end was reached, every image counts."""
    pacs.add(image(1))
    connection = connect()
    log_of(connection, days=1).read()
    assert ordered(connection) == set()

    pacs.add(image(2))
    log_of(connection, days=1).read()
    assert ordered(connection) == {"1.2.1.2"}


def test_what_comes_before_the_first_look_succeeds_is_new(pacs: FakePacs, connect: Connect) -> None:
    """Orthanc is away as the service starts: whatever came since is not for the backfill."""
    connection = connect()
    log = log_of(connection, days=0)
    pacs.fails = lambda _: httpx2.Response(503)
    with pytest.raises(PacsUnavailable):
        log.read()
    pacs.changed_at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    pacs.add(image(1))
    pacs.fails = lambda _: None
    log.read()

    assert ordered(connection) == {"1.2.1.1"}


def test_the_cursor_stays_where_a_page_was_not_done(pacs: FakePacs, connect: Connect) -> None:
    """Orthanc fails in the middle: all of the page is read again."""
    pacs.add(image(1))
    pacs.add(image(2))
    connection = connect()
    pacs.fails = lambda request: httpx2.Response(500) if request.url.path.endswith("1.2.1.2") else None
    with pytest.raises(PacsUnavailable):
        log_of(connection).read()
    pacs.fails = lambda _: None
    log_of(connection).read()

    assert ordered(connection) == {"1.2.1.1", "1.2.1.2"}


def test_a_service_that_hung_does_not_set_the_cursor_back(pacs: FakePacs, connect: Connect) -> None:
    """What another one has read meanwhile stays read."""
    pacs.add(image(1))
    connection = connect()
    hung = log_of(connection)

    def read_by_another(request: httpx2.Request) -> httpx2.Response | None:
        if request.url.path.endswith("/changes"):
            pacs.fails = lambda _: None
            pacs.add(image(2))
            log_of(connection).read()
            pacs.changes.pop()  # of the page that the hung one gets
        return None

    pacs.fails = read_by_another
    hung.read()

    assert Cursor(connection._database, "changes").read() == "2"


def test_an_image_deleted_meanwhile_is_passed_over(pacs: FakePacs, connect: Connect) -> None:
    """What is in the log, but not in Orthanc any more, is no failure."""
    pacs.add(image(1))
    del pacs.instances["1.2.1.1"]
    connection = connect()
    log_of(connection).read()

    assert ordered(connection) == set()


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, json={"Changes": []}),
        httpx2.Response(200, json={"Last": 1, "Changes": ["a"]}),
        httpx2.Response(200, json=[1]),
        httpx2.Response(200, text="<html>"),
    ],
)
def test_what_is_no_change_log_is_told(pacs: FakePacs, connect: Connect, answer: httpx2.Response) -> None:
    """The message says which setting to check."""
    pacs.fails = lambda _: answer

    with pytest.raises(PacsUnavailable, match="EFSNET_PACS_ORTHANC_URL"):
        log_of(connect()).read()


def test_a_search_finds_what_no_event_told_of(pacs: FakePacs, connect: Connect) -> None:
    """Each image of each study, once, however many pages."""
    for number in range(1, 121):
        pacs.add(image(1, study=f"1.{number}"))
    connection = connect()
    sweep = Sweep(connection.client, connection.queue, days=2)

    assert [sweep.run(), sweep.run()] == [120, 0]
    asked = {request.url.params.get("StudyDate") for request in pacs.requests if request.url.path.endswith("/studies")}
    ((first, last),) = [dates.split("-") for dates in asked if dates]
    today = f"{datetime.now(UTC).astimezone():%Y%m%d}"
    assert first < today < last


def test_the_doors_answer_what_comes(pacs: FakePacs, connect: Connect) -> None:
    """From an image in the change log to its results, with nobody asking, and a PACS that fails at first."""
    pacs.fails = lambda _: httpx2.Response(500)
    connection = connect(poll_s=0.01, sweep_s=0.01, days=FOREVER)
    done = Event()

    def stored(_: httpx2.Request) -> httpx2.Response | None:
        if pacs.of("SR"):
            done.set()
        return None

    connection.start(FakeAnalysis())
    pacs.add(image())
    pacs.fails = stored

    assert done.wait(30)


def pushed(*files: bytes, study: str | None = None, cut: int | None = None, limit: int = 10_000) -> list[Pushed]:
    """What is taken of a request with these files, received in small pieces."""
    body = b"".join(write_parts(files, "b"))[:cut]

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 97):
            yield body[start : start + 97]

    return asyncio.run(read_pushed(stream(), CONTENT_TYPE, study_instance_uid=study, max_instance_bytes=limit))


def test_a_pushed_image_is_ordered() -> None:
    """Its UIDs are read, though nothing but its header is kept."""
    found = pushed(instance(image(1), BitsAllocated=8, PixelData=bytes(100_000)), instance(image(2)), limit=200_000)

    assert [one.order for one in found] == [Order(image(1)), Order(image(2))]
    assert all(one.order and one.order.priority is Priority.LIVE for one in found)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit]
)
def test_a_pushed_image_is_ordered_however_it_is_encoded(syntax: UID) -> None:
    """Though only its beginning is kept, which of an inflated one is a beginning too."""
    made = dcmread(io.BytesIO(instance(image(1))))
    made.add_new(0x00291010, "OB", np.random.default_rng(0).bytes(150_000))
    made.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    dcmwrite(file, made, little_endian=little, implicit_vr=implicit)
    (found,) = pushed(file.getvalue(), limit=200_000)

    assert found.order == Order(image(1))


def test_what_is_pushed_and_no_ultrasound_is_taken_and_nothing_done() -> None:
    """A PACS that forwards all it has must not be told of failures."""
    (found,) = pushed(instance(image(1), "MR"))

    assert (found.order, found.failure) == (None, None)


def test_each_pushed_instance_is_answered_for() -> None:
    """Those that are taken, and those that are not with the reason."""
    found = pushed(instance(image(1)), b"no DICOM", instance(image(1, study="1.3")), study="1.2")
    answer = stow_answer(found)

    assert [one.failure for one in found] == [None, CANNOT_UNDERSTAND, DOES_NOT_MATCH]
    assert len(answer["00081199"]["Value"]) == 1  # type: ignore[index]
    assert [item["00081197"]["Value"] for item in answer["00081198"]["Value"]] == [  # type: ignore[index]
        [CANNOT_UNDERSTAND],
        [DOES_NOT_MATCH],
    ]


def test_a_push_that_is_cut_off_is_refused() -> None:
    """Its sender sends it again."""
    with pytest.raises(FormMalformed, match="closing boundary"):
        pushed(instance(image(1)), cut=300)


def test_a_pushed_instance_over_the_limit_is_refused_while_it_arrives() -> None:
    """With the name of the setting."""
    with pytest.raises(BodyTooLarge, match="EFSNET_MAX_DICOM_BYTES"):
        pushed(instance(image(1), BitsAllocated=8, PixelData=bytes(20_000)))


@pytest.mark.parametrize(
    ("content_type", "error"),
    [
        ("application/dicom", MediaTypeUnsupported),
        ('multipart/related; type="application/json"; boundary=b', MediaTypeUnsupported),
        ('multipart/related; type="application/dicom"', FormMalformed),
        (f"multipart/related; boundary={'b' * 1000}", FormMalformed),
    ],
)
def test_what_is_no_multipart_of_dicom_is_refused(content_type: str, error: type[Exception]) -> None:
    """Each with what it is."""

    async def stream() -> AsyncIterator[bytes]:
        yield b"x"

    with pytest.raises(error):
        asyncio.run(read_pushed(stream(), content_type, study_instance_uid=None, max_instance_bytes=10))
