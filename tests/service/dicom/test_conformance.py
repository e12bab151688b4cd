"""The conformance statement says what the code does."""

import re
from pathlib import Path

import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian

from service.dicom.decoder import COMPRESSED
from service.dicom.decoding import SYNTAXES
from service.dicom.pixels import PHOTOMETRIC
from service.dicom.results import ResultOptions
from service.dicom.source import SECONDARY_CAPTURE, ULTRASOUND
from service.pacs.pushed import CANNOT_UNDERSTAND, DOES_NOT_MATCH
from tests.service.dicom.conftest import Analyse
from tests.service.dicom.instances import instance, squares
from tests.service.dicom.test_results import ALL, made_of

ROW = re.compile(r"^\| (.+?) \| `([\d.]+)` \|(.*)\|$", re.MULTILINE)


@pytest.fixture
def statement(repository: Path) -> str:
    """docs/dicom-conformance.md."""
    return (repository / "docs" / "dicom-conformance.md").read_text(encoding="utf-8")


def rows(statement: str, heading: str) -> dict[str, tuple[str, str]]:
    """Name and remark by UID, of the table below a heading."""
    part = re.split(r"^#+ ", statement.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return {uid: (name, remark.strip()) for name, uid, remark in ROW.findall(part)}


def test_transfer_syntaxes_are_those_that_are_read(statement: str) -> None:
    """Each, and no other; the decoders of the compressed ones, too."""
    stated = rows(statement, "Transfer syntaxes")
    native = {uid for uid, (_, decoder) in stated.items() if uid not in COMPRESSED and decoder == "pydicom"}

    assert stated.keys() == SYNTAXES
    assert native == SYNTAXES - COMPRESSED


def test_sop_classes_are_those_that_are_read(statement: str) -> None:
    """By their names in the standard."""
    stated = rows(statement, "What it reads")

    assert stated.keys() == ULTRASOUND | SECONDARY_CAPTURE
    assert {uid: name for uid, (name, _) in stated.items()} == {uid: UID(uid).name for uid in stated}


def test_photometric_interpretations_are_those_that_are_read(statement: str) -> None:
    """In this order."""
    (cells,) = re.findall(r"^\| Photometric Interpretation \| (.+) \|$", statement, re.MULTILINE)

    assert list(PHOTOMETRIC) == re.findall(r"`(.+?)`", cells)


def test_results_are_of_the_stated_classes(statement: str, analyse: Analyse) -> None:
    """Each in its series; of grey and of coloured pictures."""
    grey = squares()
    pictures = (grey, grey[..., None].repeat(3, axis=2))
    made = [(role, result) for picture in pictures for role, result in made_of(analyse, instance(picture), ALL).items()]
    table = re.findall(r"^\| `(\w+)` \| .+? \| `([\d.]+)` \| (\w+) \| (\d+) \|$", statement, re.MULTILINE)

    assert {(role, uid, modality) for role, uid, modality, _ in table} == {
        (role, result.SOPClassUID, result.Modality) for role, result in made
    }
    assert {ExplicitVRLittleEndian} == {result.file_meta.TransferSyntaxUID for _, result in made}
    assert {role: int(number) for role, _, _, number in table} == ResultOptions().series_numbers


def test_failure_reasons_are_those_that_are_given(statement: str) -> None:
    """In both of their spellings."""
    for reason in (CANNOT_UNDERSTAND, DOES_NOT_MATCH):
        assert f"{reason} ({reason:X}H)" in statement
