"""An image of the PACS is answered in its study, once."""

import httpx2
import pytest
from pydicom import Dataset

from service.audit.trail import Trail
from service.errors import PacsUnavailable
from service.jobs.job import Job, Order, Priority, Subject
from service.jobs.runner import Runner
from service.pacs.answering import Answer, Answering, Keeping
from service.pacs.connection import Connection
from tests.service.pacs.conftest import Connect, FakeAnalysis, FakePacs, image


def keeping(connection: Connection) -> Keeping:
    """Where the connection keeps what there is to do, without an audit trail."""
    return Keeping(connection.queue, connection.ledger, Trail(None))


def work(connection: Connection, analyse: FakeAnalysis, *, write: bool = True) -> list[Job]:
    """Does all jobs that are due, and returns all there are."""
    answering = Answering(connection.client, keeping(connection), analyse, write=write)
    runner = Runner(connection.queue, answering, threads=1)
    while runner.run_next() is not None:
        pass
    return connection.queue.newest(state=None, limit=100)


def roles(pacs: FakePacs) -> tuple[int, int]:
    """How many SEG and SR the PACS holds."""
    return len(pacs.of("SEG")), len(pacs.of("SR"))


def test_what_is_found_is_a_seg_and_an_sr(pacs: FakePacs, connect: Connect) -> None:
    """Both are in the study, and the SR came last."""
    pacs.add(image())
    connection = connect()
    connection.order(Order(image()))
    (job,) = work(connection, FakeAnalysis())

    assert (job.state, [result.role for result in job.results]) == ("done", ["SEG", "SR"])
    assert list(pacs.instances)[1:] == [result.sop_instance_uid for result in job.results]


@pytest.mark.requirement("PACS-6")
def test_where_nothing_is_found_there_is_an_sr_alone(pacs: FakePacs, connect: Connect) -> None:
    """A negative report, no segmentation."""
    pacs.add(image())
    connection, analyse = connect(), FakeAnalysis()
    analyse.found = False
    connection.order(Order(image()))
    work(connection, analyse)

    assert roles(pacs) == (0, 1)


def test_an_image_that_comes_again_is_not_answered_again(pacs: FakePacs, connect: Connect) -> None:
    """Also when a person asks, and after a promotion."""
    pacs.add(image())
    connection, analyse = connect(), FakeAnalysis()
    connection.order(Order(image()))
    work(connection, analyse)
    connection.order(Order(image()))
    connection.order(Order(image(), explicit=True))
    (job,) = work(connection, FakeAnalysis("sha256:2"))

    assert len(analyse.asked) == 1
    assert roles(pacs) == (1, 1)
    assert (job.note, len(job.results)) == ("Answered before.", 2)


def test_the_study_tells_a_service_that_lost_its_ledger(pacs: FakePacs, connect: Connect) -> None:
    """A result of ours about the image is found in its study, of whatever version, and no other is made."""
    pacs.add(image(1))
    pacs.add(image(2))
    first = connect()
    first.order(Order(image(1)))
    work(first, FakeAnalysis())
    other, analyse = connect("other"), FakeAnalysis("sha256:2")
    other.order(Order(image(1)))
    other.order(Order(image(2)))
    work(other, analyse)

    assert len(analyse.asked) == 1
    assert roles(pacs) == (2, 2)
    assert other.ledger.find(image(1).sop_instance_uid or "") is not None


def test_reanalysis_adds_the_results_of_the_new_version(pacs: FakePacs, connect: Connect) -> None:
    """Asked for, an image is answered once more."""
    pacs.add(image())
    connection = connect()
    connection.order(Order(image()))
    work(connection, FakeAnalysis())
    connection.order(Order(image(), explicit=True, reanalyse=True))
    work(connection, FakeAnalysis("sha256:2"))

    assert roles(pacs) == (2, 2)


@pytest.mark.requirement("PACS-7")
def test_results_that_a_person_deleted_are_not_made_again(pacs: FakePacs, connect: Connect) -> None:
    """Neither by an event, nor by a search, nor by a reanalysis; a tombstone is kept."""
    pacs.add(image())
    connection, analyse = connect(), FakeAnalysis()
    connection.order(Order(image()))
    (job,) = work(connection, analyse)
    for result in job.results:
        del pacs.instances[result.sop_instance_uid]
    connection.order(Order(image(), explicit=True))
    work(connection, analyse)
    for _ in range(2):
        connection.order(Order(image(), explicit=True, reanalyse=True))
        (job,) = work(connection, FakeAnalysis("sha256:2"))
        assert "deleted by a person" in job.note

    assert roles(pacs) == (0, 0)


@pytest.mark.requirement("PACS-8")
def test_a_dry_run_stores_nothing(pacs: FakePacs, connect: Connect) -> None:
    """The image is analysed, the PACS is as it was, and the image can be answered later."""
    pacs.add(image())
    connection, analyse = connect(write=False), FakeAnalysis()
    connection.order(Order(image()))
    (job,) = work(connection, analyse, write=False)

    assert (roles(pacs), len(analyse.asked)) == ((0, 0), 1)
    assert job.note == "Dry run: SEG and SR made, nothing stored."
    connection.order(Order(Subject("1.2"), Priority.BACKFILL, explicit=True))
    work(connection, analyse)
    assert roles(pacs) == (1, 1)


def test_a_study_is_a_job_for_each_of_its_images(pacs: FakePacs, connect: Connect) -> None:
    """Only of its ultrasound, with the priority of the order."""
    for number in (1, 2):
        pacs.add(image(number))
    pacs.add(Subject("1.2", "1.2.9", "1.2.9.1"), "MR")
    connection = connect()
    connection.order(Order(Subject("1.2"), Priority.BACKFILL))
    jobs = work(connection, FakeAnalysis())

    assert roles(pacs) == (2, 2)
    assert {job.order.priority for job in jobs} == {Priority.BACKFILL}


@pytest.mark.parametrize("at", ["SEG", "SR"])
def test_an_answer_that_breaks_off_is_finished_by_the_same_version(pacs: FakePacs, connect: Connect, at: str) -> None:
    """The PACS fails between the results, a version is promoted meanwhile: still one of each."""
    pacs.add(image())
    connection, analyse = connect(), FakeAnalysis()
    answering = Answering(connection.client, keeping(connection), analyse, write=True)
    connection.order(Order(image()))
    job = connection.queue.take()
    assert job is not None
    pacs.fails = lambda request: (
        httpx2.Response(503) if request.method == "POST" and at.encode() in request.read() else None
    )
    with pytest.raises(PacsUnavailable):
        answering(job)
    connection.queue.put_off(job, 0, "")
    pacs.fails = lambda _: None
    analyse.version = "sha256:2"
    work(connection, analyse)

    assert analyse.asked == ["sha256:1", "sha256:1"]
    assert roles(pacs) == (1, 1)


def test_a_wrong_password_drops_nothing(pacs: FakePacs, connect: Connect) -> None:
    """The job waits, says what to check, and is done once the password is right."""
    pacs.add(image())
    connection = connect(user="efsnet", password="wrong")  # noqa: S106
    pacs.fails = lambda _: httpx2.Response(401)
    connection.order(Order(image()))
    (job,) = work(connection, FakeAnalysis())
    assert (job.state, "check EFSNET_PACS_USER" in job.note) == ("queued", True)

    pacs.fails = lambda _: None
    connection.retry(job.id)
    work(connection, FakeAnalysis())
    assert roles(pacs) == (1, 1)


@pytest.mark.requirement("PACS-9")
def test_what_the_pacs_refuses_for_good_is_in_the_failed_list(pacs: FakePacs, connect: Connect) -> None:
    """With the reason that the PACS gives, though its status were one of success."""
    pacs.add(image())
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}}
    pacs.fails = lambda request: httpx2.Response(200, json=failed) if request.method == "POST" else None
    connection = connect()
    connection.order(Order(image()))
    (job,) = work(connection, FakeAnalysis())

    assert (job.state, job.note) == ("failed", "The PACS did not store it (reason 272).")


def test_an_image_that_is_told_of_early_is_answered_once_it_is_there(pacs: FakePacs, connect: Connect) -> None:
    """An archive that forwards while it still stores has not lost it."""
    connection = connect()
    connection.order(Order(image()))
    (job,) = work(connection, FakeAnalysis())
    assert (job.state, job.note) == ("queued", "The PACS does not hold the study.")

    pacs.add(image())
    connection.retry(job.id)
    work(connection, FakeAnalysis())
    assert roles(pacs) == (1, 1)


def test_where_nothing_is_no_image_is_gone(pacs: FakePacs, connect: Connect) -> None:
    """A PACS that starts, or a wrong address, knows no path at all: the job waits, and says what to check."""
    pacs.add(image())
    pacs.fails = lambda _: httpx2.Response(404)
    connection = connect()
    connection.order(Order(image()))
    job = connection.queue.take()
    assert job is not None

    with pytest.raises(PacsUnavailable, match="EFSNET_PACS_URL"):
        Answering(connection.client, keeping(connection), FakeAnalysis(), write=True)(job)


def test_a_study_that_is_not_there_yet_has_images_later(pacs: FakePacs, connect: Connect) -> None:
    """Told of early, or while the PACS starts: it is not taken for one without ultrasound."""
    connection = connect()
    connection.order(Order(Subject("1.2")))
    for fault in (httpx2.Response(404), None):
        pacs.fails = lambda _, fault=fault: fault  # type: ignore[misc]
        (job,) = work(connection, FakeAnalysis())
        assert job.state == "queued"
        connection.retry(job.id)

    pacs.add(image())
    work(connection, FakeAnalysis())
    assert roles(pacs) == (1, 1)


def test_a_pacs_that_holds_nothing_is_no_person_who_deleted_results(pacs: FakePacs, connect: Connect) -> None:
    """While it starts, a reanalysis waits; no tombstone is set."""
    pacs.add(image())
    connection = connect()
    connection.order(Order(image()))
    work(connection, FakeAnalysis())
    pacs.fails = lambda _: httpx2.Response(404)
    connection.order(Order(image(), explicit=True, reanalyse=True))
    (job,) = work(connection, FakeAnalysis("sha256:2"))
    assert job.state == "queued"

    pacs.fails = lambda _: None
    connection.retry(job.id)
    work(connection, FakeAnalysis("sha256:2"))
    assert roles(pacs) == (2, 2)


@pytest.mark.requirement("PACS-9")
@pytest.mark.parametrize(
    "page",
    [httpx2.Response(200, text="<html>Planted^Name</html>"), httpx2.Response(200, json={}), httpx2.Response(404)],
)
def test_what_the_pacs_does_not_say_to_hold_is_not_stored(
    pacs: FakePacs, connect: Connect, page: httpx2.Response
) -> None:
    """A page for maintenance has the status of a success: the image is answered once that is over."""
    pacs.add(image())
    pacs.fails = lambda request: page if request.method == "POST" else None
    connection = connect()
    connection.order(Order(image()))
    (job,) = work(connection, FakeAnalysis())
    assert (job.state, "EFSNET_PACS_URL" in job.note, "Planted" in job.note) == ("queued", True, False)

    pacs.fails = lambda _: None
    connection.retry(job.id)
    work(connection, FakeAnalysis())
    assert roles(pacs) == (1, 1)


def test_a_pacs_that_answers_in_xml_is_asked_whether_it_holds_it(pacs: FakePacs, connect: Connect) -> None:
    """As older ones do."""

    def answered(request: httpx2.Request) -> httpx2.Response | None:
        if request.method != "POST":
            return None
        pacs.fails = lambda _: None
        pacs(request)
        pacs.fails = answered
        return httpx2.Response(200, text="<NativeDicomModel/>", headers={"Content-Type": "application/dicom+xml"})

    pacs.add(image())
    pacs.fails = answered
    connection = connect()
    connection.order(Order(image()))
    (job,) = work(connection, FakeAnalysis())

    assert (job.state, roles(pacs)) == ("done", (1, 1))


@pytest.mark.requirement("PACS-6")
def test_an_answer_that_failed_half_way_is_retried_with_its_version(pacs: FakePacs, connect: Connect) -> None:
    """The SEG is there and the SR was refused; a version is promoted before a person has it tried again."""
    pacs.add(image())
    pacs.fails = lambda request: (
        httpx2.Response(400) if request.method == "POST" and b"1.2.840.10008.5.1.4.1.1.88" in request.read() else None
    )
    connection = connect()
    connection.order(Order(image()))
    (job,) = work(connection, FakeAnalysis())
    assert (job.state, roles(pacs)) == ("failed", (1, 0))

    pacs.fails = lambda _: None
    connection.retry(job.id)
    work(connection, FakeAnalysis("sha256:2"))
    assert roles(pacs) == (1, 1)


@pytest.mark.requirement("PACS-6")
def test_whoever_lost_a_job_stores_nothing(pacs: FakePacs, connect: Connect) -> None:
    """Another service may answer it with another version by now."""
    pacs.add(image())
    connection = connect()

    class Standing(FakeAnalysis):
        def __call__(self, data: bytes, version: str | None) -> Answer:
            connection.queue.owner = "another service"
            return super().__call__(data, version)

    connection.order(Order(image()))
    (job,) = work(connection, Standing())

    assert (job.state, job.version, roles(pacs)) == ("running", None, (0, 0))


@pytest.mark.requirement("PACS-6")
def test_a_pacs_that_refuses_what_it_has_is_answered_once(pacs: FakePacs, connect: Connect) -> None:
    """The SEG was stored before a crash: an archive that takes no duplicates still gets the SR."""
    pacs.add(image())
    connection, analyse = connect(), FakeAnalysis()
    connection.order(Order(image()))
    work(connection, analyse)
    for report in pacs.of("SR"):
        del pacs.instances[str(report.SOPInstanceUID)]
    segmentation = str(pacs.of("SEG")[0].SOPInstanceUID).encode()
    pacs.fails = lambda request: (
        httpx2.Response(409) if request.method == "POST" and segmentation in request.read() else None
    )
    after_a_crash = connect("other")
    after_a_crash.order(Order(image()))
    (job,) = work(after_a_crash, analyse)

    assert (job.state, roles(pacs)) == ("done", (1, 1))


def test_another_image_than_was_asked_for_is_no_answer(pacs: FakePacs, connect: Connect) -> None:
    """Nothing is stored of it, and people see that."""
    pacs.add(image(1))
    pacs.add(image(2))
    other = pacs.instances["1.2.1.2"]
    pacs.instances["1.2.1.1"] = pacs.instances["1.2.1.1"][0], other[1]
    connection = connect()
    connection.order(Order(image(1)))
    (job,) = work(connection, FakeAnalysis())

    assert (job.state, "another instance" in job.note) == ("failed", True)
    assert roles(pacs) == (0, 0)


def test_a_report_of_another_maker_answers_nothing(pacs: FakePacs, connect: Connect) -> None:
    """Though its UID begins like ours, and its series has the number of ours."""
    pacs.add(image())
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = "1.2.1.1"
    pacs.add(
        Subject("1.2", "2.25.7", "2.25.7.1"),
        "SR",
        SeriesNumber=9002,
        Manufacturer="Another",
        CurrentRequestedProcedureEvidenceSequence=[reference],
    )
    connection = connect()
    connection.order(Order(image()))
    work(connection, FakeAnalysis())

    assert roles(pacs) == (1, 2)


def test_an_answer_has_one_report() -> None:
    """Without it, nothing would mark the image as answered."""
    with pytest.raises(ValueError, match="one SR"):
        Answer("sha256:1", ("1.2", "1.2.1.1"), ())


def test_a_pacs_that_speaks_otherwise_is_told_of_in_our_words(pacs: FakePacs, connect: Connect) -> None:
    """Its own words, which may name a patient, are told nowhere; a page for maintenance passes, and refuses nothing."""
    pacs.fails = lambda _: httpx2.Response(200, text="<html>Planted^Name</html>")
    with pytest.raises(PacsUnavailable, match="EFSNET_PACS_URL") as searched:
        connect().client.search("studies")
    with pytest.raises(PacsUnavailable, match="EFSNET_PACS_URL") as retrieved:
        connect().client.retrieve(image())

    assert "Planted" not in str(searched.value) + str(retrieved.value)
