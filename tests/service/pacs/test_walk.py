"""The test of the way to a PACS."""

import io

import httpx2
from pydicom import dcmread

from service.pacs.walk import TEST_PATIENT, Walk
from tests.service.pacs.conftest import Connect, FakePacs, image


def walked(connect: Connect, *, write: bool) -> dict[str, tuple[str, str]]:
    """State and detail of each step."""
    walk = Walk(connect(write=write).client, write=write, orthanc=True)
    return {step.name: (step.state, step.detail) for step in walk.steps()}


def test_all_steps_succeed(pacs: FakePacs, connect: Connect) -> None:
    """The test object says what it is, and however many tests leave one."""
    pacs.add(image())
    for _ in range(2):
        assert {state for state, _ in walked(connect, write=True).values()} == {"ok"}

    (made,) = pacs.of("OT")
    assert made.PatientID == TEST_PATIENT


def test_nothing_is_stored_in_a_dry_run(pacs: FakePacs, connect: Connect) -> None:
    """The steps that would write are skipped, and say which setting allows them."""
    steps = walked(connect, write=False)

    assert (steps["store"][0], steps["find"][0], steps["retrieve"][0]) == ("skipped", "skipped", "skipped")
    assert "EFSNET_PACS_WRITE" in steps["store"][1]
    assert pacs.instances == {}


def test_the_step_that_fails_says_why(pacs: FakePacs, connect: Connect) -> None:
    """And the steps after it are tried all the same."""
    pacs.fails = lambda request: httpx2.Response(409) if request.method == "POST" else None
    steps = walked(connect, write=True)

    assert steps["store"] == ("failed", "The PACS refuses it (409).")
    assert steps["find"][0] == "failed"
    assert (steps["query"][0], steps["changes"][0]) == ("ok", "ok")


def test_the_test_object_is_a_dicom_file(pacs: FakePacs, connect: Connect) -> None:
    """Any viewer shows it."""
    walked(connect, write=True)
    ((_, content),) = pacs.instances.values()

    assert dcmread(io.BytesIO(content)).pixel_array.shape == (8, 8)
