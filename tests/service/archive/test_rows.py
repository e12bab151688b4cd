"""The rows of an image: what the service would answer, and nothing of the patient."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from efsnet import rle
from efsnet.image import PixelSpacing
from efsnet.maps import ProbabilityMap
from efsnet.predictor import Computation, Predictor
from model_store.digest import Digest
from model_store.loading import LoadedVersion, load
from model_store.manifest import MODEL
from model_store.store import ModelStore
from service.archive.rows import Row, Rows, mask_of, schema
from service.dicom.decoding import DecoderProcess
from service.dicom.source import Limits
from tests.service.conftest import encoded
from tests.service.dicom.instances import CT, PATIENT_ID, PATIENT_NAME, instance, part10, region, squares


@pytest.fixture
def loaded(published_store: ModelStore) -> LoadedVersion:
    """The tiny version."""
    return load(published_store.version("efsnet", "production"), Computation(provider="cpu"))


@pytest.fixture(scope="module")
def decoder() -> Iterator[DecoderProcess]:
    """One process for all tests of the module."""
    process = DecoderProcess()
    yield process
    process.close()


def rows_of(
    loaded: LoadedVersion,
    decoder: DecoderProcess,
    data: bytes,
    *,
    spacing: PixelSpacing | None = None,
    tags: tuple[str, ...] = (),
) -> list[Row]:
    """The rows of a file, through the table and back."""
    made = Rows(loaded, Limits(25_000_000, 100, 10_000_000), decoder, spacing, tags).of("file:///1", data)
    table = pa.Table.from_pylist(made, schema(loaded.version.manifest.specification, tags))
    rows: list[Row] = table.to_pylist()
    return rows


@pytest.mark.requirement("ARC-1")
def test_a_row_tells_what_the_service_would_answer(
    loaded: LoadedVersion, decoder: DecoderProcess, image: bytes, pixels: NDArray[np.uint8]
) -> None:
    """Areas, lesions, masks on the image's own grid, and what gave them; no millimetre is invented."""
    (row,) = rows_of(loaded, decoder, image)

    assert ("segmented", 1, 128, 160) == tuple(row[name] for name in ("status", "frame_number", "rows", "columns"))
    assert str(Digest.of(image)) == row["digest"]
    assert ("efsnet", 1, str(loaded.version.digest)) == (row["model"], row["version"], row["version_digest"])
    for label, grey in (("benign", 150), ("malignant", 230)):
        mask = rle.decode(mask_of(row, label))
        assert row[f"{label}_pixels"] == mask.sum() == pytest.approx((pixels == grey).sum(), rel=0.1)
        assert row[f"{label}_area_mm2"] is None
    assert ["malignant", "benign"] == [lesion["class"] for lesion in row["lesions"]]


@pytest.mark.requirement("AREA-2")
def test_millimetres_are_there_where_the_spacing_is_known(
    loaded: LoadedVersion, decoder: DecoderProcess, image: bytes
) -> None:
    """Given by a person, or by the instance itself."""
    (given,) = rows_of(loaded, decoder, image, spacing=PixelSpacing(0.1, 0.2))
    (stated,) = rows_of(loaded, decoder, part10(instance(squares(), regions=[region((0, 0, 159, 127))])))

    assert given["benign_area_mm2"] == pytest.approx(given["benign_pixels"] * 0.02)
    assert (0.1, 0.1) == (stated["row_mm"], stated["column_mm"])
    assert stated["lesions"][0]["area_mm2"] == pytest.approx(stated["lesions"][0]["pixels"] * 0.01)


def test_each_frame_of_a_cine_has_a_row(loaded: LoadedVersion, decoder: DecoderProcess) -> None:
    """From 1; a frame without anything has one too."""
    rows = rows_of(loaded, decoder, part10(instance(np.stack([squares(), np.zeros_like(squares()), squares()]))))

    assert [1, 2, 3] == [row["frame_number"] for row in rows]
    assert [2, 0, 2] == [len(row["lesions"]) for row in rows]


@pytest.mark.requirement("PRIV-3")
def test_of_a_header_only_what_was_asked_for_is_kept(loaded: LoadedVersion, decoder: DecoderProcess) -> None:
    """Neither name nor number of the patient, whatever becomes of the file."""
    files = [part10(instance(squares())), part10(instance(squares(), SOPClassUID=CT, Modality="CT"))]
    for data in (*files, files[0][:-5000]):
        text = str(rows_of(loaded, decoder, data))
        assert PATIENT_NAME not in text
        assert PATIENT_ID not in text
        assert "20260102" not in text
    (asked,) = rows_of(loaded, decoder, files[0], tags=("StudyDate", "ImageType", "PatientComments"))

    assert ("20260102", "ORIGINAL\\PRIMARY\\BREAST\\0001", None) == tuple(
        asked[f"tag_{keyword}"] for keyword in ("StudyDate", "ImageType", "PatientComments")
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_undecodable"),
        (b"Dear Sir", "image_undecodable"),
        (encoded(squares())[:-60], "image_undecodable"),
        (encoded(np.zeros((6000, 6000), np.uint8)), "too_many_pixels"),
        (part10(instance(squares()))[:-5000], "image_undecodable"),
        (part10(instance(squares(), SOPClassUID=CT, Modality="CT")), "not_ultrasound"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 500, "image_undecodable"),
        (b"GIF89a" + bytes(100), "image_format_unsupported"),
    ],
)
def test_what_cannot_be_segmented_says_why_in_a_row(
    loaded: LoadedVersion, decoder: DecoderProcess, data: bytes, code: str
) -> None:
    """By the codes of the API, and with its digest: it may be looked for."""
    (row,) = rows_of(loaded, decoder, data)

    assert ("unusable", code) == (row["status"], row["code"])
    assert row["reason"].endswith(".")
    assert str(Digest.of(data)) == row["digest"]
    assert row["benign_pixels"] is row["lesions"] is None


class FailingPredictor(Predictor):
    """A predictor with a fault."""

    def run(self, tensor: NDArray[np.uint8]) -> ProbabilityMap:
        """Fails."""
        raise RuntimeError(PATIENT_NAME)


def test_what_nobody_has_thought_of_costs_one_image(loaded: LoadedVersion, decoder: DecoderProcess) -> None:
    """And not the run: it is tried again by the next start. The error's own words might quote the file."""
    version = loaded.version
    failing = FailingPredictor(version.read(MODEL), version.manifest.specification, Computation(provider="cpu"))
    (row,) = rows_of(replace(loaded, predictors=(failing,)), decoder, encoded(squares()))

    assert ("unavailable", "runtime_error") == (row["status"], row["code"])
    assert "Failed unexpectedly (RuntimeError)." == row["reason"]
