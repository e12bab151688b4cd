"""What experts correct is kept whole, in the layout that training reads, and says nothing of who it was."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from starlette.testclient import TestClient

from efsnet.image import Image
from efsnet.maps import LabelMap
from efsnet.specification import ClassSpecification
from service.corrections import TABLE, Correction, Corrections
from service.errors import CorrectionInvalid, CorrectionsOff, CorrectionsUnusable
from tests.service.conftest import PNG, Start

CLASSES = tuple(
    ClassSpecification(number=number, label=label, colour=(number, 0, 0))
    for number, label in enumerate(("background", "benign", "malignant"))
)
DIGEST = "sha256:" + 64 * "0"


def correction(*numbers: int, patient: str = "Planted Name") -> Correction:
    """A picture in which these classes are marked, a column each; another one for other classes."""
    label_map = np.zeros((6, 8), np.uint8)
    for column, number in enumerate(numbers):
        label_map[:, column] = number
    image = Image(np.arange(48, dtype=np.uint8).reshape(6, 8) + np.uint8(sum(numbers)))
    return Correction(image, LabelMap(label_map), patient, "corrected", DIGEST, CLASSES)


def lines(folder: Path) -> list[dict[str, str]]:
    """Of the table."""
    with (folder / TABLE).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_correction_is_kept_with_its_gravest_class(tmp_path: Path) -> None:
    """Normal where nothing is marked."""
    corrections = Corrections(tmp_path / "kept")
    names = [corrections.save(correction(*numbers)) for numbers in ((), (1,), (1, 2))]

    assert ["normal", "benign", "malignant"] == [line["class"] for line in lines(tmp_path / "kept")]
    assert names == [line["file"] for line in lines(tmp_path / "kept")]
    assert {DIGEST} == {line["version"] for line in lines(tmp_path / "kept")}


def test_what_is_sent_again_is_kept_once(tmp_path: Path) -> None:
    """A client that lost the answer tries again; another picture's, or another patient's, is another correction."""
    corrections = Corrections(tmp_path)
    first, again = (corrections.save(correction(1)) for _ in range(2))
    others = corrections.save(correction(2)), corrections.save(correction(1, patient="Somebody Else"))

    assert first == again
    assert [first, *others] == [line["file"] for line in lines(tmp_path)]


@pytest.mark.requirement("UI-3")
def test_patients_are_told_apart_and_not_named(tmp_path: Path) -> None:
    """The same code for the same patient, however it is typed; another folder has other codes."""
    for folder in ("one", "other"):
        corrections = Corrections(tmp_path / folder)
        for number, patient in enumerate(("Planted Name", " planted name", "Somebody Else")):
            corrections.save(correction(number, patient=patient))
    first, again, somebody = (line["patient"] for line in lines(tmp_path / "one"))

    assert first == again != somebody
    assert first != lines(tmp_path / "other")[0]["patient"]
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in kept if b"lanted" in file.read_bytes()]
    assert {0} == {file.stat().st_mode & 0o077 for file in kept if file.suffix in {".png", ".csv"}}


@pytest.mark.requirement("UI-3")
def test_nothing_is_kept_where_nobody_asked_for_it() -> None:
    """Off is off."""
    corrections = Corrections(None)

    assert not corrections.on
    with pytest.raises(CorrectionsOff):
        corrections.save(correction(1))


def test_what_a_killed_service_left_is_taken_away(tmp_path: Path) -> None:
    """Training would ask what it is."""
    corrections = Corrections(tmp_path)
    kept = corrections.save(correction(1))
    left = [tmp_path / "images" / name for name in (f"{16 * 'a'}.png", f"{16 * 'b'}.{32 * '0'}.new")]
    for file in left:
        file.write_bytes(b"half")
    corrections.save(correction(2))

    assert [False, False] == [file.exists() for file in left]
    assert (tmp_path / "images" / kept).exists()


def test_images_that_were_there_before_stay(tmp_path: Path) -> None:
    """A hospital's own set has the same layout, and the setting may name it by mistake."""
    own = [tmp_path / part / "patient_1.png" for part in ("images", "masks")]
    for file in own:
        file.parent.mkdir()
        file.write_bytes(b"own")
    Corrections(tmp_path).save(correction(1))

    assert [b"own", b"own"] == [file.read_bytes() for file in own]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_a_clear_error(tmp_path: Path) -> None:
    """And nothing of it is told to the caller but that."""
    tmp_path.chmod(0o500)
    with pytest.raises(CorrectionsUnusable):
        Corrections(tmp_path / "below").save(correction(1))


def test_a_file_in_the_place_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    """As above, for whoever runs as root."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CorrectionsUnusable):
        Corrections(tmp_path / "file" / "below").save(correction(1))


def test_masks_of_another_size_or_class_are_refused() -> None:
    """Before anything is written."""
    image = Image(np.zeros((6, 8), np.uint8))
    for label_map in (np.zeros((6, 9), np.uint8), np.full((6, 8), 3, np.uint8)):
        with pytest.raises(CorrectionInvalid):
            Correction(image, LabelMap(label_map), "1", "accepted", DIGEST, CLASSES)


def body(client: TestClient, image: bytes, **others: Any) -> Mapping[str, Any]:
    """What the page sends when an answer is accepted."""
    told = client.post("/v1/segment", params={"pictures": True}, content=image, headers=PNG).json()
    return {
        "picture": told["picture"],
        "masks": [{"number": area["number"], "rle": area["rle"]} for area in told["classes"]],
        "patient": "Planted Name",
        "decision": "accepted",
        "version": told["model"]["digest"],
    } | others


def test_an_answer_that_is_accepted_is_kept(start: Start, image: bytes, tmp_path: Path) -> None:
    """Over HTTP, as the page does it; `/version` says that there is such a folder."""
    client = start(corrections=tmp_path / "kept")
    answer = client.post("/v1/corrections", json=body(client, image))

    assert 201 == answer.status_code, answer.text
    assert [answer.json()["file"]] == [line["file"] for line in lines(tmp_path / "kept")]
    assert client.get("/version").json()["corrections"] is True


def test_without_a_folder_the_service_says_so(client: TestClient, image: bytes) -> None:
    """And the page shows no button."""
    answer = client.post("/v1/corrections", json=body(client, image))

    assert (503, "corrections_off") == (answer.status_code, answer.json()["code"])
    assert client.get("/version").json()["corrections"] is False


@pytest.mark.parametrize(
    "others",
    [
        {"picture": "data:image/png;base64,%%%"},
        {"picture": "data:image/png;base64,AAAA"},
        {"picture": "data:image/png;base64,é"},
        {"masks": [{"number": 1, "rle": {"size": [2, 2], "counts": "04"}}]},
        {"masks": [{"number": 1, "rle": {"size": [128, 160], "counts": "oooooooo"}}]},
        {"masks": [{"number": 0, "rle": {"size": [128, 160], "counts": "0"}}]},
        {"patient": ""},
        {"patient": "  "},
        {"decision": "perhaps"},
        {"version": "3"},
        {"more": 1},
    ],
)
def test_what_is_no_correction_is_refused(
    start: Start, image: bytes, tmp_path: Path, others: Mapping[str, Any]
) -> None:
    """With a reason, and nothing is kept."""
    client = start(corrections=tmp_path / "kept")
    answer = client.post("/v1/corrections", json=body(client, image, **others))

    assert 422 == answer.status_code
    assert "Planted" not in answer.text
    assert not (tmp_path / "kept" / TABLE).exists()


def test_members_that_are_too_many_are_not_looked_at(start: Start, image: bytes, tmp_path: Path) -> None:
    """Each would be a fault to be told of, and those of twenty megabytes would take gigabytes."""
    client = start(corrections=tmp_path / "kept")
    answer = client.post("/v1/corrections", json=body(client, image, masks=[{}] * 2000))

    assert (422, "correction_invalid") == (answer.status_code, answer.json()["code"])
    assert "more members" in answer.json()["detail"]


def test_a_picture_that_is_corrected_again_is_there_once(tmp_path: Path) -> None:
    """With the last word of the expert, and without the files of the one before."""
    corrections = Corrections(tmp_path)
    first = corrections.save(correction(1))
    changed = correction(1)
    again = corrections.save(
        Correction(
            changed.image,
            LabelMap(np.zeros_like(changed.label_map.array)),
            changed.patient,
            "corrected",
            changed.version,
            changed.classes,
        )
    )

    assert first != again
    assert [again] == [line["file"] for line in lines(tmp_path)]
    assert not (tmp_path / "images" / first).exists()


@pytest.mark.requirement("UI-3")
def test_of_a_dicom_picture_the_analysed_part_alone_is_kept(start: Start, image: bytes, tmp_path: Path) -> None:
    """Names may be drawn into the rest."""
    client = start(corrections=tmp_path / "kept")
    kept = client.post("/v1/corrections", json=body(client, image, region_xywh=[10, 20, 100, 60])).json()["file"]
    wrong = client.post("/v1/corrections", json=body(client, image, region_xywh=[100, 20, 100, 60]))

    with PillowImage.open(tmp_path / "kept" / "images" / kept) as picture:
        assert (100, 60) == picture.size
        with PillowImage.open(io.BytesIO(image)) as whole:
            assert np.array_equal(np.asarray(picture), np.asarray(whole)[20:80, 10:110])
    with PillowImage.open(tmp_path / "kept" / "masks" / kept) as mask:
        assert (100, 60) == mask.size
    assert (422, "correction_invalid") == (wrong.status_code, wrong.json()["code"])
