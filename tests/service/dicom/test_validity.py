"""Results are valid: dciodvfy finds no error in any of them, and highdicom reads the very same masks from them."""

import contextlib
import io
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from efsnet.errors import ImageError
from service.dicom.analysis import Analysis
from service.dicom.identity import ROLES
from service.dicom.results import ResultOptions, results, to_file
from service.errors import IdentityMissing, InstanceUnusable
from tests.service.dicom.conftest import AnalyseFile
from tests.service.dicom.instances import (
    PATIENT_NAME,
    SECONDARY_CAPTURE,
    instance,
    part10,
    region,
    squares,
)

VALIDATOR = shutil.which("dciodvfy")
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(VALIDATOR is None, reason="needs Debian's dicom3tools"),
]

ALL = ResultOptions(outputs=frozenset(ROLES))
BOTH = squares()
BENIGN, MALIGNANT, NOTHING = BOTH.copy(), BOTH.copy(), np.full_like(BOTH, 30)
BENIGN[:, 80:] = MALIGNANT[:, :80] = 30
WHOLE = region((0, 0, 159, 127))
CINE = np.stack([NOTHING, BENIGN, NOTHING, BOTH, NOTHING, MALIGNANT])

COPIED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def colours(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same grey in red, green and blue."""
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)


def compressed(pixels: NDArray[np.uint8], syntax: str) -> bytes:
    """Without loss."""
    made = instance(pixels, regions=[WHOLE])
    part10(made)  # says how it is not compressed yet
    made.compress(syntax, generate_instance_uid=False)
    return part10(made, syntax)


def jpeg(*frames: NDArray[np.uint8], syntax: str = JPEGBaseline8Bit) -> bytes:
    """As most scanners send: JPEG baseline, colours as YBR. Or JPEG 2000, without loss."""
    kind = "YBR_FULL_422" if frames[0].ndim == 3 else "MONOCHROME2"
    made = instance(np.stack(frames), regions=[WHOLE], PhotometricInterpretation=kind, LossyImageCompression="01")
    encoded = []
    for frame in frames:
        file = io.BytesIO()
        if syntax == JPEGBaseline8Bit:
            PIL.Image.fromarray(frame).save(file, "JPEG", quality=95)
        else:
            PIL.Image.fromarray(frame).save(file, "JPEG2000", irreversible=False, no_jp2=True)
        encoded.append(file.getvalue())
    made.PixelData = encapsulate(encoded)
    made["PixelData"].is_undefined_length = True
    return part10(made, syntax)


def palette() -> bytes:
    """Grey values by way of a palette."""
    ramp = np.arange(256, dtype="<u2") * 257
    tables: dict[str, Any] = {
        f"{colour}PaletteColorLookupTableDescriptor": [256, 0, 16] for colour in ("Red", "Green", "Blue")
    }
    values: dict[str, Any] = {
        f"{colour}PaletteColorLookupTableData": ramp.tobytes() for colour in ("Red", "Green", "Blue")
    }
    return part10(instance(BOTH, PhotometricInterpretation="PALETTE COLOR", **tables, **values))


def bare() -> bytes:
    """With what must be there, and nothing else."""
    made = instance(BOTH)
    for keyword in (*COPIED, "SpecificCharacterSet", "SeriesNumber", "InstanceNumber", "Manufacturer", "ImageType"):
        if keyword != "StudyInstanceUID":
            delattr(made, keyword)
    return part10(made)


def in_latin_1() -> bytes:
    """Names in the letters that machines of before Unicode use."""
    return part10(instance(BOTH, regions=[WHOLE], SpecificCharacterSet="ISO_IR 100", StudyID="Año 1"))


SOURCES: Mapping[str, Callable[[], bytes]] = {
    "grey": lambda: part10(instance(BOTH, regions=[WHOLE])),
    "grey, not calibrated": lambda: part10(instance(BOTH)),
    "grey, white for 0": lambda: part10(instance(~BOTH, regions=[WHOLE], PhotometricInterpretation="MONOCHROME1")),
    "grey, 16 bits": lambda: part10(instance(BOTH.astype(np.uint16) * 257, regions=[WHOLE])),
    "grey, odd size": lambda: part10(instance(BOTH[:-1, :-3], regions=[region((0, 0, 156, 126))])),
    "grey, a part is tissue": lambda: part10(
        instance(BOTH, regions=[region((10, 20, 150, 110), PhysicalDeltaY=-0.02)])
    ),
    "colours": lambda: part10(instance(colours(BOTH), regions=[WHOLE])),
    "colours, not calibrated": lambda: part10(instance(colours(BOTH))),
    "colours of a palette": palette,
    "JPEG, colours": lambda: jpeg(colours(BOTH)),
    "JPEG, grey": lambda: jpeg(BOTH),
    "JPEG-LS": lambda: compressed(BOTH, JPEGLSLossless),
    "JPEG 2000": lambda: jpeg(BOTH, syntax=JPEG2000Lossless),
    "RLE": lambda: compressed(BOTH, RLELossless),
    "cine": lambda: part10(instance(CINE, regions=[WHOLE])),
    "cine, not calibrated": lambda: part10(instance(CINE)),
    "cine, colours": lambda: part10(instance(colours(CINE), regions=[WHOLE])),
    "cine, JPEG": lambda: jpeg(*colours(CINE)),
    "cine, one frame has something": lambda: part10(instance(np.stack([NOTHING, NOTHING, BENIGN]), regions=[WHOLE])),
    "cine, nothing": lambda: part10(instance(np.stack([NOTHING, NOTHING]), regions=[WHOLE])),
    "benign alone": lambda: part10(instance(BENIGN, regions=[WHOLE])),
    "malignant alone": lambda: part10(instance(MALIGNANT, regions=[WHOLE], Laterality="L")),
    "nothing": lambda: part10(instance(NOTHING, regions=[WHOLE])),
    "nothing, not calibrated": lambda: part10(instance(NOTHING)),
    "secondary capture": lambda: part10(
        instance(BOTH, SOPClassUID=SECONDARY_CAPTURE, ConversionType="WSD", Laterality="R")
    ),
    "in a frame of reference": lambda: part10(instance(BOTH, regions=[WHOLE], FrameOfReferenceUID="1.2.3")),
    "cine, in a frame of reference": lambda: part10(instance(CINE, regions=[WHOLE], FrameOfReferenceUID="1.2.3")),
    "names in Latin-1": in_latin_1,
    "bare": bare,
}


@pytest.fixture(params=list(SOURCES.values()), ids=list(SOURCES))
def analysis(request: pytest.FixtureRequest, analyse_file: AnalyseFile) -> Analysis:
    """Of each source in turn."""
    return analyse_file(request.param())


def errors_in(file: bytes, folder: Path) -> list[str]:
    """What dciodvfy calls an error in a DICOM file."""
    path = folder / "instance.dcm"
    path.write_bytes(file)
    done = subprocess.run([str(VALIDATOR), str(path)], capture_output=True, check=False)
    told = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    return [line for line in told if re.match(r"\(?.*\bError\b", line)]


@pytest.mark.requirement("PACS-3")
def test_results_are_valid(analysis: Analysis, tmp_path: Path) -> None:
    """Whatever the source and whatever was found: dciodvfy finds no error."""
    for role, result in results(analysis, ALL):
        assert [] == errors_in(to_file(result), tmp_path), role


def test_the_validator_finds_what_is_wrong(tmp_path: Path) -> None:
    """So that its silence means something."""
    made = instance(BOTH)
    del made.Rows

    assert any("Rows" in line for line in errors_in(part10(made), tmp_path))


def test_masks_are_read_again_by_their_source(analysis: Analysis) -> None:
    """As programs ask highdicom for them: by the instance and frame that they are of."""
    made = dict(results(analysis, ALL))
    if not analysis.found:
        assert "SEG" not in made
        return
    seg = highdicom.seg.segread(io.BytesIO(to_file(made["SEG"])))
    frames = {finding.frame_index + 1: finding.label_map for finding in analysis.findings}
    for number in seg.segment_numbers:
        label = seg.get_segment_description(number).segment_label
        read = _read(seg, analysis, list(frames), int(number))
        for mask, label_map in zip(read, frames.values(), strict=True):
            np.testing.assert_array_equal(mask, label_map.mask({"benign": 1, "malignant": 2}[label]))


def _read(
    seg: highdicom.seg.Segmentation, analysis: Analysis, frame_numbers: list[int], number: int
) -> NDArray[np.bool_]:
    """(frames, rows, columns) of a segment."""
    how: dict[str, Any] = {
        "segment_numbers": [number],
        "ignore_spatial_locations": True,
        "assert_missing_frames_are_empty": True,
    }
    uid = analysis.source.sop_instance_uid
    if analysis.source.number_of_frames > 1:
        read = seg.get_pixels_by_source_frame(uid, frame_numbers, **how)
    else:
        read = seg.get_pixels_by_source_instance([uid], **how)
    return np.asarray(read[..., 0], dtype=np.bool_)


@pytest.mark.requirement("PACS-3")
def test_results_are_of_the_same_patient_and_study(analysis: Analysis) -> None:
    """Whatever letters the source is written in; what it does not say is there, and empty."""
    source = analysis.source.header
    for role, result in results(analysis, ALL):
        read = dcmread(io.BytesIO(to_file(result)))
        for keyword in COPIED:
            assert str(source.get(keyword) or "") == str(read[keyword].value or ""), (role, keyword)


def test_results_are_called_the_same_each_time(analysis: Analysis) -> None:
    """UIDs of instances and series are a function of the source, the model and the configuration."""

    def uids(made: list[tuple[str, Dataset]]) -> list[tuple[str, str, str]]:
        return [(role, result.SeriesInstanceUID, result.SOPInstanceUID) for role, result in made]

    assert uids([*results(analysis, ALL)]) == uids([*results(analysis, ALL)])


def test_spanish_names_survive_latin_1(analyse_file: AnalyseFile) -> None:
    """As a reader sees them."""
    for role, result in results(analyse_file(in_latin_1()), ALL):
        read = dcmread(io.BytesIO(to_file(result)))
        assert (PATIENT_NAME, "Año 1") == (str(read.PatientName), read.StudyID), role


@pytest.mark.timeout(180)
def test_damaged_headers_fail_no_answer(analyse_file: AnalyseFile) -> None:
    """Whatever bytes of a header are flipped: there are results, or the instance is refused for what is wrong."""
    made = instance(
        BOTH[::2, ::2], regions=[region((0, 0, 79, 63))], PatientAge="066Y", PatientWeight="60.5", Laterality="L"
    )
    whole = part10(made)
    chance = np.random.default_rng(6)
    answered = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 4, 8])):
            damaged[chance.integers(300, len(whole) - BOTH.size // 4)] = chance.integers(256)
        with contextlib.suppress(ImageError, InstanceUnusable, IdentityMissing):
            for _, result in results(analyse_file(bytes(damaged)), ALL):
                to_file(result)
            answered += 1

    assert answered > 40
