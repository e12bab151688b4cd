"""POST /v1/segment with DICOM: answered as a picture is, in the instance's own pixels and millimetres."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from pydicom import dcmread
from starlette.testclient import TestClient

from service.api.schemas import FramesAnswer, SegmentationAnswer
from tests.service.api.test_segment import URL, decode, mask_of
from tests.service.conftest import PNG, Start, encoded
from tests.service.dicom.instances import CT, PATIENT_ID, PATIENT_NAME, instance, part10, region, squares

DICOM = {"Content-Type": "application/dicom"}
GREY = squares()
TISSUE = region((0, 20, 159, 107), PhysicalDeltaX=0.01, PhysicalDeltaY=-0.02)


def answer(client: TestClient, content: bytes, **query: str) -> dict[str, Any]:
    """The JSON answer to an instance."""
    response = client.post(URL, params=query, content=content, headers=DICOM)
    assert 200 == response.status_code, response.text
    told: dict[str, Any] = response.json()
    return told


@pytest.fixture
def still() -> bytes:
    """The squares, of which the region of tissue leaves out top and bottom."""
    return part10(instance(GREY, regions=[TISSUE]))


@pytest.fixture
def cine() -> bytes:
    """Three frames: nothing, the squares, a small part of them."""
    part = GREY.copy()
    part[:, 80:] = 30
    return part10(instance(np.stack([np.full_like(GREY, 30), GREY, part])))


def test_an_instance_is_answered_as_its_picture_is(client: TestClient) -> None:
    """The same masks and areas as of a PNG of the same pixels."""
    of_file = client.post(URL, content=encoded(GREY), headers=PNG).json()
    told = answer(client, part10(instance(GREY)))

    assert of_file["classes"] == told["classes"]
    assert of_file["lesions"] == told["lesions"]
    SegmentationAnswer.model_validate(told)
    assert ["region_unknown", "not_like_breast_ultrasound"] == [warning["code"] for warning in told["warnings"]]


def test_only_the_tissue_is_marked_and_measured(client: TestClient, still: bytes) -> None:
    """Positions are the whole picture's; square millimetres are the instance's own."""
    told = answer(client, still)

    assert [0, 20, 160, 88] == told["image"]["region_xywh"]
    assert [0.2, 0.1] == pytest.approx(told["image"]["pixel_spacing_mm"])
    for area in told["classes"]:
        mask = decode(area["rle"])
        assert (128, 160) == mask.shape
        assert not mask[:20].any()
        assert not mask[108:].any()
        assert mask.sum() == area["pixels"] > 0
        assert area["area_mm2"] == pytest.approx(area["pixels"] * 0.02, abs=1e-5)
    for lesion in told["lesions"]:
        x, y, width, height = lesion["bbox_xywh"]
        assert y >= 20
        assert (
            lesion["pixels"]
            == decode(told["classes"][lesion["class_number"] - 1]["rle"])[y : y + height, x : x + width].sum()
        )


def test_a_spacing_that_a_person_gives_is_taken(client: TestClient) -> None:
    """Where the instance has none."""
    told = answer(client, part10(instance(GREY)), pixel_spacing_mm="0.5,0.5")

    assert told["classes"][0]["area_mm2"] == pytest.approx(told["classes"][0]["pixels"] * 0.25)


def test_a_cine_is_answered_frame_by_frame(client: TestClient, cine: bytes) -> None:
    """Each frame with its masks; the key frame is that of the largest lesion."""
    told = answer(client, cine)

    FramesAnswer.model_validate(told)
    assert [1, 2, 3] == [frame["frame_number"] for frame in told["frames"]]
    assert [0, 2, 1] == [len(frame["lesions"]) for frame in told["frames"]]
    assert 2 == told["key_frame_number"]
    assert 3 == told["image"]["frames"]


def test_one_frame_can_be_asked_for(client: TestClient, cine: bytes) -> None:
    """And is answered like a picture; one that is not there is a clear error."""
    assert 1 == len(answer(client, cine, frame="3")["lesions"])

    response = client.post(URL, params={"frame": "4"}, content=cine, headers=DICOM)
    assert (422, "frame_unknown") == (response.status_code, response.json()["code"])
    response = client.post(URL, params={"frame": "2"}, content=encoded(GREY), headers=PNG)
    assert (422, "frame_unknown") == (response.status_code, response.json()["code"])


def test_pictures_of_a_cine_are_of_its_key_frame(client: TestClient, cine: bytes) -> None:
    """The mask as a palette PNG, and the overlay."""
    mask = client.post(URL, params={"format": "png"}, content=cine, headers=DICOM)
    overlay = client.post(URL, params={"format": "overlay"}, content=cine, headers=DICOM)

    assert {0, 1, 2} == set(np.unique(mask_of(mask.content)).tolist())
    with PillowImage.open(io.BytesIO(overlay.content)) as picture:
        assert (160, 128) == picture.size


def test_a_form_takes_an_instance_too(client: TestClient, still: bytes) -> None:
    """With whatever media type the file is said to have."""
    response = client.post(URL, files={"image": ("scan.dcm", still)})

    assert 200 == response.status_code
    assert response.json()["image"]["region_xywh"]


def test_what_is_no_ultrasound_is_refused_without_naming_its_patient(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the answer nor in the log."""
    response = client.post(URL, content=part10(instance(GREY, SOPClassUID=CT, Modality="CT")), headers=DICOM)

    assert (422, "not_ultrasound") == (response.status_code, response.json()["code"])
    for planted in (PATIENT_NAME, PATIENT_NAME.split("^")[0], PATIENT_ID):
        assert planted not in response.text + caplog.text


def test_an_instance_may_be_larger_than_a_photograph(start: Start) -> None:
    """Each has a limit of its own, also in a form, and a PNG is not let through as DICOM."""
    client = start(max_body_bytes=10_000, max_dicom_bytes=40_000)
    small, large = part10(instance(GREY)), part10(instance(np.stack([GREY] * 3)))

    assert 200 == client.post(URL, content=small, headers=DICOM).status_code
    assert 200 == client.post(URL, files={"image": ("a.dcm", small)}).status_code
    assert "body_too_large" == client.post(URL, content=large, headers=DICOM).json()["code"]
    assert "body_too_large" == client.post(URL, files={"image": ("a.png", b"\x89PNG" + bytes(15_000))}).json()["code"]
    assert "body_too_large" == client.post(URL, content=bytes(15_000), headers=PNG).json()["code"]


@pytest.mark.parametrize(("format_", "modality"), [("seg", "SEG"), ("sr", "SR"), ("sc", "OT"), ("pr", "PR")])
def test_the_answer_can_be_an_object_of_the_study(
    client: TestClient, still: bytes, format_: str, modality: str
) -> None:
    """A DICOM file that refers to the instance, with the model in the headers as in any answer."""
    response = client.post(URL, params={"format": f"dicom-{format_}"}, content=still, headers=DICOM)
    result = dcmread(io.BytesIO(response.content))

    assert "application/dicom" == response.headers["content-type"]
    assert "1" == response.headers["x-model-version"]
    assert modality == result.Modality
    assert PATIENT_ID == result.PatientID


def test_who_accepts_dicom_gets_the_segmentation(client: TestClient, still: bytes) -> None:
    """As programs ask."""
    response = client.post(URL, content=still, headers=DICOM | {"Accept": "application/dicom"})

    assert "SEG" == dcmread(io.BytesIO(response.content)).Modality


def test_what_cannot_be_answered_as_dicom_says_why(client: TestClient, still: bytes) -> None:
    """A picture without a study, nothing to be segmented, another grid."""
    png = client.post(URL, params={"format": "dicom-seg"}, content=encoded(GREY), headers=PNG)
    nothing = part10(instance(np.full_like(GREY, 30)))
    empty = client.post(URL, params={"format": "dicom-seg"}, content=nothing, headers=DICOM)
    report = client.post(URL, params={"format": "dicom-sr"}, content=nothing, headers=DICOM)
    grid = client.post(URL, params={"format": "dicom-seg", "mask_space": "model"}, content=still, headers=DICOM)

    assert (422, "not_dicom") == (png.status_code, png.json()["code"])
    assert (422, "nothing_found") == (empty.status_code, empty.json()["code"])
    assert 200 == report.status_code
    assert (422, "parameter_invalid") == (grid.status_code, grid.json()["code"])
