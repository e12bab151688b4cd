"""Segmenting files without a server."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from model_store.store import ModelStore
from service.__main__ import app
from tests.service.conftest import PNG, encoded


@pytest.fixture
def inputs(tmp_path: Path, image: bytes) -> Path:
    """A folder of a benign and a malignant folder, with files of the same name in them."""
    for folder in ("benign", "malignant"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "scan (1).png").write_bytes(image)
    return tmp_path / "in"


def run(store: ModelStore, *arguments: object) -> Result:
    """Runs `python -m service segment` with these arguments."""
    environment = {"EFSNET_STORE": str(store.root), "EFSNET_PROVIDER": "cpu"}
    return CliRunner().invoke(app, ["segment", *map(str, arguments)], env=environment)


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of the table of areas."""
    return list(csv.DictReader(io.StringIO((folder / "areas.csv").read_text(encoding="utf-8"))))


def mask(path: Path) -> NDArray[np.uint8]:
    """Pixel values of a mask."""
    with PillowImage.open(path) as picture:
        return np.asarray(picture)


def test_each_file_gets_a_mask_an_overlay_and_a_row(published_store: ModelStore, inputs: Path, tmp_path: Path) -> None:
    """Files of the same name in different folders stay apart; the row tells of the mask and what gave it."""
    files = sorted(inputs.rglob("*.png"))
    result = run(published_store, *files, "--out", tmp_path / "out")
    rows = table(tmp_path / "out")

    assert 0 == result.exit_code, result.output
    assert [str(file) for file in files] == [row["file"] for row in rows]
    for file, row in zip(files, rows, strict=True):
        place = file.relative_to(inputs)
        found = mask(tmp_path / "out/masks" / place)
        assert [str((found == 1).sum()), str((found == 2).sum())] == [row["benign_pixels"], row["malignant_pixels"]]
        assert (tmp_path / "out/overlays" / place).exists()
        assert ("128", "160", "2", "efsnet", "1") == (
            *(row["rows"], row["columns"], row["lesions"]),
            *(row["model"], row["version"]),
        )


@pytest.mark.requirement("SEG-8")
def test_the_mask_is_the_one_that_the_service_gives(
    published_store: ModelStore, client: TestClient, inputs: Path, tmp_path: Path, image: bytes
) -> None:
    """Byte for byte."""
    run(published_store, inputs / "benign" / "scan (1).png", "--out", tmp_path / "out")
    served = client.post("/v1/segment?format=png", content=image, headers=PNG).content

    assert served == (tmp_path / "out/masks/scan (1).png").read_bytes()


def test_files_that_cannot_be_read_are_told_at_the_end(
    published_store: ModelStore, inputs: Path, tmp_path: Path
) -> None:
    """The others are segmented, and the exit status is 1."""
    (inputs / "notes.txt").write_text("Dear Sir", encoding="utf-8")
    bad = (inputs / "notes.txt", inputs / "missing.png", inputs / "benign")
    result = run(published_store, *bad, inputs / "benign/scan (1).png", "--out", tmp_path / "out")

    assert 1 == result.exit_code
    assert 1 == len(table(tmp_path / "out"))
    assert all(path.name in result.stderr for path in bad)
    assert "1 of 4" in result.stderr
    assert "Traceback" not in result.output


def test_files_that_differ_in_their_kind_stay_apart(
    published_store: ModelStore, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    """scan.png and scan.jpg have a mask each."""
    for kind in ("png", "jpeg", "bmp", "tiff"):
        (tmp_path / f"scan.{kind}").write_bytes(encoded(pixels, kind.upper()))
    result = run(published_store, *tmp_path.glob("scan.*"), "--out", tmp_path / "out")

    assert 0 == result.exit_code, result.output
    assert {"scan.png", "scan.jpeg.png", "scan.bmp.png", "scan.tiff.png"} == {
        path.name for path in (tmp_path / "out/masks").iterdir()
    }


def test_two_files_never_share_an_output(published_store: ModelStore, image: bytes, tmp_path: Path) -> None:
    """Refused before anything is written."""
    for name in ("scan.jpg", "scan.jpg.png"):
        (tmp_path / name).write_bytes(image)
    result = run(published_store, tmp_path / "scan.jpg", tmp_path / "scan.jpg.png", "--out", tmp_path / "out")

    assert 2 == result.exit_code
    assert not (tmp_path / "out").exists()


def test_results_are_replaced_only_if_asked(published_store: ModelStore, inputs: Path, tmp_path: Path) -> None:
    """A second run into the same folder is refused without --overwrite."""
    arguments = (inputs / "benign/scan (1).png", "--out", tmp_path / "out")

    assert 0 == run(published_store, *arguments).exit_code
    refused = run(published_store, *arguments)
    assert (2, True) == (refused.exit_code, "--overwrite" in refused.stderr)
    assert 0 == run(published_store, *arguments, "--overwrite").exit_code


@pytest.mark.parametrize("version", ["99", "nobody", "sha256:00"])
def test_an_unknown_version_is_told(published_store: ModelStore, inputs: Path, tmp_path: Path, version: str) -> None:
    """Without a traceback, and without a folder of results."""
    file = inputs / "benign/scan (1).png"
    result = run(published_store, file, "--out", tmp_path / "out", "--version", version)

    assert (2, False) == (result.exit_code, (tmp_path / "out").exists())
    assert "efsnet" in result.stderr or "version" in result.stderr
    assert "Traceback" not in result.output


def test_the_same_file_named_twice_is_segmented_once(published_store: ModelStore, inputs: Path, tmp_path: Path) -> None:
    """As a careless pattern of the shell does."""
    file = inputs / "benign/scan (1).png"

    assert 0 == run(published_store, file, file, "--out", tmp_path / "out").exit_code
    assert 1 == len(table(tmp_path / "out"))


def test_a_folder_that_cannot_be_written_to_is_told(published_store: ModelStore, inputs: Path, tmp_path: Path) -> None:
    """Without a traceback."""
    (tmp_path / "out").write_bytes(b"")
    result = run(published_store, inputs / "benign/scan (1).png", "--out", tmp_path / "out")

    assert 2 == result.exit_code
    assert str(tmp_path / "out") in result.stderr
    assert "Traceback" not in result.output


def test_areas_in_mm2_are_given_with_a_pixel_spacing(published_store: ModelStore, inputs: Path, tmp_path: Path) -> None:
    """And are empty without one: no millimetre is invented."""
    files = sorted(inputs.rglob("*.png"))
    run(published_store, *files, "--out", tmp_path / "without")
    run(published_store, *files, "--out", tmp_path / "with", "--pixel-spacing-mm", "0.1,0.2")
    without, spaced = table(tmp_path / "without")[0], table(tmp_path / "with")[0]

    assert "" == without["benign_area_mm2"]
    assert float(spaced["benign_area_mm2"]) == pytest.approx(int(spaced["benign_pixels"]) * 0.02)


@pytest.mark.parametrize("spacing", ["0.1", "0,1", ""])
def test_a_spacing_that_cannot_be_stops_the_command(
    published_store: ModelStore, inputs: Path, tmp_path: Path, spacing: str
) -> None:
    """Before a file is segmented."""
    result = run(published_store, *inputs.rglob("*.png"), "--out", tmp_path / "out", "--pixel-spacing-mm", spacing)

    assert 2 == result.exit_code
    assert "--pixel-spacing-mm: give two distances" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_store_that_was_set_back_is_not_followed(published_store: ModelStore, inputs: Path, tmp_path: Path) -> None:
    """No more than by the service, which remembers for both."""
    published_store.promote("efsnet", "production", 1, by="the tests", why="again")
    files = sorted(inputs.rglob("*.png"))
    assert 0 == run(published_store, *files, "--out", tmp_path / "out").exit_code
    (published_store.root / "efsnet/promotions/000002.json").unlink()

    refused = run(published_store, *files, "--out", tmp_path / "other")

    assert (2, False) == (refused.exit_code, (tmp_path / "other" / "areas.csv").exists())
    assert "was set back or exchanged" in refused.output
