"""POST /v1/segment, asked for what it gives."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from starlette.testclient import TestClient

from model_store.manifest import Draft
from model_store.store import ModelStore
from service.api.schemas import MasksAnswer, SegmentationAnswer
from tests.service.conftest import PNG, Start, encoded

URL = "/v1/segment"
CLASSES = {1: "benign", 2: "malignant"}


def decode(rle: dict[str, Any]) -> NDArray[np.bool_]:
    """COCO's compressed run lengths, read by another reader than the service's own (maskApi.c, rleFrString)."""
    runs: list[int] = []
    run, bits = 0, 0
    for character in rle["counts"].encode("ascii"):
        group = character - 48
        run |= (group & 0x1F) << bits
        bits += 5
        if not group & 0x20:
            if group & 0x10:
                run -= 1 << bits
            runs.append(run + (runs[-2] if len(runs) > 2 else 0))
            run, bits = 0, 0
    rows, columns = rle["size"]
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape((rows, columns), order="F")


def mask_of(png: bytes) -> NDArray[np.uint8]:
    """Pixel values of a palette PNG."""
    with PillowImage.open(io.BytesIO(png)) as picture:
        assert "P" == picture.mode
        return np.asarray(picture)


def answer(client: TestClient, image: bytes, **query: str) -> dict[str, Any]:
    """The JSON answer to an image."""
    response = client.post(URL, params=query, content=image, headers=PNG)
    assert 200 == response.status_code, response.text
    content: dict[str, Any] = response.json()
    return content


def test_the_json_answer_is_as_documented(client: TestClient, image: bytes) -> None:
    """It has every member that the schema has, and no other."""
    content = answer(client, image)

    assert json.loads(SegmentationAnswer.model_validate(content).model_dump_json()) == content


@pytest.mark.requirement("SEG-10")
def test_the_answer_says_what_gave_it(start: Start, image: bytes, published_store: ModelStore) -> None:
    """Name, number and digest of the version, and what computed it, in full precision."""
    version = published_store.version("efsnet", "production")
    model = answer(start(), image)["model"]

    assert ("efsnet", 1, str(version.digest)) == (model["name"], model["version"], model["digest"])
    assert ("cpu", "f32") == (model["provider"], model["precision"])


def test_masks_and_areas_agree(client: TestClient, image: bytes) -> None:
    """Run lengths, pixel counts, fractions and lesions tell of the same pixels, on the image's own grid."""
    content = answer(client, image)

    assert {"space": "original", "rows": 128, "columns": 160, "encoding": "coco_rle"} == content["mask"]
    for area in content["classes"]:
        mask = decode(area["rle"])
        lesions = [lesion for lesion in content["lesions"] if lesion["class_number"] == area["number"]]

        assert (128, 160) == mask.shape
        assert area["pixels"] == mask.sum() == sum(lesion["pixels"] for lesion in lesions)
        assert area["fraction"] == pytest.approx(mask.mean(), abs=1e-6)
        assert area["label"] == CLASSES[area["number"]]


@pytest.mark.requirement("SEG-2")
def test_the_mask_lies_on_the_lesion(client: TestClient, image: bytes, pixels: NDArray[np.uint8]) -> None:
    """Nearly all pixels of the squares, and hardly any other, are given their class."""
    given = mask_of(client.post(URL, params={"format": "png"}, content=image, headers=PNG).content)
    expected = np.select([pixels == 150, pixels == 230], [1, 2], 0)

    assert (given == expected).mean() > 0.98


@pytest.mark.requirement("AREA-1")
def test_classes_are_listed_even_if_absent(client: TestClient) -> None:
    """A dark image has zero benign and zero malignant pixels, no lesion, and no confidence in what is not there."""
    content = answer(client, encoded(np.full((200, 200), 20, np.uint8)))

    assert [(1, 0, 0.0, None), (2, 0, 0.0, None)] == [
        (area["number"], area["pixels"], area["fraction"], area["mean_confidence"]) for area in content["classes"]
    ]
    assert [] == content["lesions"]


@pytest.mark.requirement("SEG-3")
def test_every_format_tells_the_same(client: TestClient, image: bytes) -> None:
    """JSON, run lengths and PNG hold the same mask, and the PNG's headers the same areas."""
    content = answer(client, image)
    masks = MasksAnswer.model_validate(answer(client, image, format="rle"))
    png = client.post(URL, params={"format": "png"}, content=image, headers=PNG)
    mask = mask_of(png.content)
    summary = json.loads(png.headers["X-Segmentation-Summary"])

    assert [area["rle"]["counts"] for area in content["classes"]] == [each.rle.counts for each in masks.classes]
    assert [area["pixels"] for area in content["classes"]] == [(mask == number).sum() for number in CLASSES]
    assert summary["classes"] == [{k: v for k, v in area.items() if k != "rle"} for area in content["classes"]]
    assert content["model"]["digest"] == png.headers["X-Model-Digest"]
    assert "1" == png.headers["X-Model-Version"]


def test_the_overlay_is_the_image_with_the_lesions_drawn(client: TestClient, image: bytes) -> None:
    """An RGB picture on the image's grid, grey where there is no lesion."""
    png = client.post(URL, params={"format": "overlay"}, content=image, headers=PNG).content
    with PillowImage.open(io.BytesIO(png)) as picture:
        drawn = np.asarray(picture)

    assert (128, 160, 3) == drawn.shape
    assert [30, 30, 30] == drawn[0, 0].tolist()
    assert len(set(drawn[90, 110].tolist())) > 1


@pytest.mark.parametrize("asked", ["png", "overlay", "json"])
@pytest.mark.requirement("SEG-2")
def test_the_mask_can_be_had_on_the_networks_grid(client: TestClient, image: bytes, asked: str) -> None:
    """`mask_space=model` gives the 64 x 64 pixels that the network saw."""
    response = client.post(URL, params={"format": asked, "mask_space": "model"}, content=image, headers=PNG)
    if asked == "json":
        assert (64, 64) == (response.json()["mask"]["rows"], response.json()["mask"]["columns"])
    else:
        with PillowImage.open(io.BytesIO(response.content)) as picture:
            assert (64, 64) == picture.size


@pytest.mark.requirement("AREA-2")
def test_areas_in_mm2_need_a_pixel_spacing(client: TestClient, image: bytes) -> None:
    """Without one they are null: a spacing is never invented."""
    assert all(area["area_mm2"] is None for area in answer(client, image)["classes"])
    for area in answer(client, image, pixel_spacing_mm="0.1,0.2")["classes"]:
        assert area["area_mm2"] == pytest.approx(area["pixels"] * 0.02)


def test_areas_in_mm2_do_not_depend_on_the_grid(client: TestClient, image: bytes) -> None:
    """On the network's grid a pixel covers more of the same image."""
    on_original = answer(client, image, pixel_spacing_mm="0.1,0.2")["classes"]
    on_model = answer(client, image, pixel_spacing_mm="0.1,0.2", mask_space="model")["classes"]

    for one, other in zip(on_original, on_model, strict=True):
        assert one["area_mm2"] == pytest.approx(other["area_mm2"], rel=0.05)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "image/png"),
        ("image/*", "image/png"),
        ("application/json;q=0.5, image/png;q=0.9", "image/png"),
        ("text/html, application/json;q=0.1", "application/json"),
        ("image/png;q=0, */*", "application/json"),
        ("image/png;q=high, application/json", "application/json"),
    ],
)
def test_accept_decides_the_format(client: TestClient, image: bytes, accept: str, media_type: str) -> None:
    """As HTTP has it, by quality."""
    response = client.post(URL, content=image, headers={**PNG, "Accept": accept})

    assert media_type == response.headers["Content-Type"]


def test_the_format_parameter_wins_over_accept(client: TestClient, image: bytes) -> None:
    """Browsers send an Accept of their own."""
    response = client.post(URL, params={"format": "png"}, content=image, headers={**PNG, "Accept": "application/json"})

    assert "image/png" == response.headers["Content-Type"]


def test_an_answer_that_nobody_accepts_is_refused(client: TestClient, image: bytes) -> None:
    """The problem lists the media types that there are."""
    response = client.post(URL, content=image, headers={**PNG, "Accept": "text/html"})

    assert (406, "media_type_not_offered") == (response.status_code, response.json()["code"])
    assert "image/png" in response.json()["detail"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
@pytest.mark.requirement("SEG-1")
def test_every_format_of_image_is_taken_as_form_and_as_body(
    client: TestClient, pixels: NDArray[np.uint8], kind: str
) -> None:
    """Both ways give the same mask."""
    image = encoded(pixels, kind)
    as_body = client.post(URL, params={"format": "png"}, content=image)
    as_form = client.post(URL, params={"format": "png"}, files={"image": ("a scan", image)})

    assert 200 == as_body.status_code == as_form.status_code
    assert as_body.content == as_form.content


def test_every_stage_is_timed(client: TestClient, image: bytes) -> None:
    """None takes negative time."""
    timing = answer(client, image)["timing_ms"]

    assert ["queue", "decode", "preprocess", "infer", "postprocess", "encode"] == list(timing)
    assert all(spent >= 0 for spent in timing.values())


@pytest.mark.parametrize(
    ("code", "pixels"),
    [
        ("flat_image", np.zeros((200, 200), np.uint8)),
        ("flat_image", np.full((200, 200), 255, np.uint8)),
        ("small_image", np.arange(64, dtype=np.uint8).reshape(8, 8)),
        ("small_image", np.zeros((1, 1), np.uint8)),
        ("colour", np.random.default_rng(1).integers(0, 255, (200, 200, 3), np.uint8)),
        ("transparency", np.random.default_rng(2).integers(0, 255, (200, 200, 4), np.uint8)),
        ("sixteen_bit", np.random.default_rng(3).integers(0, 65535, (200, 200), np.uint16)),
        ("not_like_breast_ultrasound", np.random.default_rng(5).integers(0, 255, (200, 200), np.uint8)),
        ("aspect_ratio_changed", np.random.default_rng(4).integers(0, 255, (200, 500), np.uint8)),
    ],
)
@pytest.mark.requirement("SEG-11")
def test_an_unusual_image_gets_an_answer_with_a_warning(
    client: TestClient, code: str, pixels: NDArray[np.generic]
) -> None:
    """Black, flat, tiny, coloured, transparent, of 16 bits or far from square: an answer, and what to know about it."""
    warnings = {warning["code"]: warning["detail"] for warning in answer(client, encoded(pixels))["warnings"]}

    assert code in warnings
    assert len(warnings[code].split()) > 5


def test_a_usual_image_has_no_warning(client: TestClient, busi: Path) -> None:
    """A warning means something."""
    image = (busi / "benign" / "benign (51).png").read_bytes()

    assert [] == answer(client, image)["warnings"]


@pytest.mark.requirement("SEG-1")
def test_a_real_image_is_answered(client: TestClient, busi: Path) -> None:
    """An image of BUSI, as published."""
    content = answer(client, (busi / "benign" / "benign (51).png").read_bytes())

    assert content["image"]["rows"] > 300


@pytest.fixture
def rich_store(published_store: ModelStore, tiny_draft: Draft, tiny_contents: Mapping[str, bytes]) -> ModelStore:
    """A store with a second version, called candidate, and a second model."""
    published_store.publish("efsnet", tiny_draft, tiny_contents)
    published_store.promote("efsnet", "candidate", 2, by="the tests", why="to ask for it")
    published_store.publish("other", tiny_draft, tiny_contents)
    published_store.promote("other", "production", 1, by="the tests", why="the first")
    return published_store


@pytest.mark.parametrize("reference", ["2", "digest", "candidate"])
def test_another_version_is_loaded_when_asked_for(
    start: Start, rich_store: ModelStore, image: bytes, reference: str
) -> None:
    """By number, digest or alias."""
    asked = str(rich_store.version("efsnet", "2").digest) if reference == "digest" else reference
    client = start()

    assert 1 == answer(client, image)["model"]["version"]
    assert 2 == answer(client, image, version=asked)["model"]["version"]
    assert 1 == answer(client, image, version="1")["model"]["version"]


def test_another_model_is_loaded_when_asked_for(start: Start, rich_store: ModelStore, image: bytes) -> None:
    """Its production version."""
    assert "other" == answer(start(), image, model="other")["model"]["name"]


def test_nothing_of_an_answer_is_kept_by_caches(client: TestClient, image: bytes) -> None:
    """Answers say not to be stored."""
    assert "no-store" == client.post(URL, content=image).headers["Cache-Control"]


@pytest.mark.parametrize("spacing", ["0.0001,0.0001", "100,100"])
@pytest.mark.parametrize("mask_space", ["original", "model"])
def test_a_spacing_at_its_bounds_is_taken_on_any_grid(client: TestClient, spacing: str, mask_space: str) -> None:
    """The bounds are for what people give, not for what is derived of it on the network's grid."""
    classes = answer(
        client, encoded(np.full((1, 2000), 150, np.uint8)), pixel_spacing_mm=spacing, mask_space=mask_space
    )

    assert all(area["area_mm2"] is not None for area in classes["classes"])


@pytest.mark.parametrize("spacing", ["0.00009,0.1", "0.1,101", "0.1", "0.1,0.1,0.1", "a,b", "nan,1", ""])
def test_a_spacing_that_cannot_be_is_refused(client: TestClient, image: bytes, spacing: str) -> None:
    """Zero, too fine, too coarse, one, three, no number."""
    response = client.post("/v1/segment", params={"pixel_spacing_mm": spacing}, content=image, headers=PNG)

    assert (422, "parameter_invalid") == (response.status_code, response.json()["code"])
