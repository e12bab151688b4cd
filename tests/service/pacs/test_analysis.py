"""How an instance becomes an answer."""

import asyncio
import io
from collections.abc import Callable, Iterator

import pytest
from pydicom import dcmread
from starlette.testclient import TestClient

from service.dicom.analyser import Analyser
from service.dicom.source import Limits
from service.errors import InstanceUnreadable, NotAnalysable
from service.metrics import Metrics
from service.pacs.analysis import StoreAnalysis
from service.segmentation import Segmenter
from service.workers import WorkerPool
from tests.service.conftest import Start, app_of
from tests.service.dicom.instances import CT, instance, part10, squares

Analyse = Callable[..., StoreAnalysis]


async def running_loop() -> asyncio.AbstractEventLoop:
    """The loop of the application."""
    return asyncio.get_running_loop()


@pytest.fixture
def client(start: Start) -> TestClient:
    """A client of a service with a version in production."""
    return start()


@pytest.fixture
def analyse(client: TestClient) -> Iterator[Analyse]:
    """Makes an analysis with that version, for results of some roles."""
    assert client.portal is not None
    loop = client.portal.call(running_loop)
    versions, pool = app_of(client).state.versions, WorkerPool("test", workers=1, capacity=1)
    segmenter = Segmenter(versions, pool, Metrics("0"), max_pixels=10**6, deadline_s=30)
    analyser = Analyser(segmenter, Limits(10**6, 10, 10**7))
    yield lambda *roles: StoreAnalysis(analyser, versions, frozenset(roles), loop)
    analyser.close()
    pool.close()


def test_what_is_found_is_answered_in_the_wanted_roles(analyse: Analyse) -> None:
    """Each result is a DICOM file with the UID that is kept of it, the SR the last one."""
    answer = analyse("SEG", "SR", "SC")(part10(instance(squares())), None)

    assert [result.role for result in answer.in_order] == ["SEG", "SC", "SR"]
    for result in answer.results:
        assert dcmread(io.BytesIO(result.content)).SOPInstanceUID == result.sop_instance_uid


def test_an_answer_says_what_it_is_about(analyse: Analyse) -> None:
    """By the study and the instance of the file itself, whatever was asked for."""
    made = instance(squares())

    assert analyse("SR")(part10(made), None).about == (made.StudyInstanceUID, made.SOPInstanceUID)


def test_where_nothing_is_found_there_is_a_report(analyse: Analyse) -> None:
    """And no segmentation."""
    answer = analyse("SEG", "SR")(part10(instance(squares() * 0)), None)

    assert [result.role for result in answer.results] == ["SR"]


def test_another_attempt_gives_the_same_uids(analyse: Analyse) -> None:
    """With the version that the first one was for."""
    content = part10(instance(squares()))
    first = analyse("SEG", "SR")(content, None)
    second = analyse("SEG", "SR")(content, first.version)

    assert [one.stored for one in first.results] == [one.stored for one in second.results]


def test_a_version_that_is_gone_is_replaced(analyse: Analyse) -> None:
    """By the one in production, which the answer names."""
    content = part10(instance(squares()))

    assert analyse("SR")(content, f"sha256:{'0' * 64}").version == analyse("SR")(content, None).version


def test_what_is_no_ultrasound_cannot_be_analysed(analyse: Analyse) -> None:
    """It is told in the note of its job."""
    with pytest.raises(NotAnalysable):
        analyse("SR")(part10(instance(squares(), SOPClassUID=CT)), None)


@pytest.mark.parametrize(
    "content",
    [
        b"no DICOM",
        part10(instance(squares(), Rows=500)),
        part10(instance(squares(), BitsAllocated=32)),
        part10(instance(squares(), StudyInstanceUID="")),
    ],
    ids=["text", "too short", "of 32 bits", "without its study"],
)
def test_an_ultrasound_that_cannot_be_read_is_a_failure_that_people_see(analyse: Analyse, content: bytes) -> None:
    """It has no answer, and nobody would know: its job goes into the list of those that failed."""
    with pytest.raises(InstanceUnreadable):
        analyse("SR")(content, None)
