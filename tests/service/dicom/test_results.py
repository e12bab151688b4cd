"""Results say what was found, of whom the instance says, and the same each time."""

import io
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import highdicom
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmread
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import ColorSoftcopyPresentationStateStorage

from efsnet.maps import LabelMap
from service.dicom.identity import ROLES, derived_uid, result_uid
from service.dicom.results import ResultOptions, results, to_file
from service.dicom.results.outlines import MAX_POINTS, lesion_mask, outline
from service.errors import IdentityMissing
from tests.service.dicom.conftest import Analyse
from tests.service.dicom.instances import PATIENT_ID, PATIENT_NAME, US_MULTI_FRAME, instance, part10, region, squares

GREY = squares()
ALL = ResultOptions(outputs=frozenset(ROLES))
WHOLE = region((0, 0, 159, 127))


def read_again(result: Dataset) -> Dataset:
    """As whoever receives the file."""
    return dcmread(io.BytesIO(to_file(result)))


def made_of(analyse: Analyse, made: Dataset, options: ResultOptions = ALL) -> Mapping[str, Dataset]:
    """Results by their role, read from their files."""
    return {role: read_again(result) for role, result in results(analyse(made), options)}


def cine() -> Dataset:
    """Nothing, both lesions, the benign one alone."""
    part = GREY.copy()
    part[:, 80:] = 30
    return instance(np.stack([np.full_like(GREY, 30), GREY, part]), regions=[WHOLE])


def masks_of(seg: Dataset) -> Mapping[tuple[str, int], NDArray[np.bool_]]:
    """By class and source frame, read by highdicom alone."""
    found = {}
    opened = highdicom.seg.segread(io.BytesIO(to_file(seg)))
    stored = opened.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for item, frame in zip(opened.PerFrameFunctionalGroupsSequence, stored, strict=True):
        number = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        label = opened.get_segment_description(number).segment_label
        found[label, int(source.get("ReferencedFrameNumber", 1))] = frame.astype(np.bool_)
    return found


def values_of(report: Dataset, meaning: str) -> list[float]:
    """The numbers of this name in a report, in its order."""
    return [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in _items(report)
        if item.get("ValueType") == "NUM" and item.ConceptNameCodeSequence[0].CodeMeaning == meaning
    ]


def meanings_in(data_set: Dataset) -> set[str]:
    """Of all codes."""
    return {item.CodeMeaning for item in _items(data_set) if "CodeMeaning" in item}


def _items(data_set: Dataset) -> list[Dataset]:
    found = []
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                found += [item, *_items(item)]
    return found


@pytest.mark.requirement("PACS-4")
def test_a_segmentation_reads_back_to_the_very_same_masks(analyse: Analyse) -> None:
    """Class by class, though segment numbers begin at 1 whatever the class."""
    analysis = analyse(instance(GREY, regions=[WHOLE]))
    (seg,) = [result for role, result in results(analysis, ALL) if role == "SEG"]
    label_map = analysis.findings[0].label_map
    found = masks_of(read_again(seg))

    assert {("benign", 1), ("malignant", 1)} == found.keys()
    np.testing.assert_array_equal(found["benign", 1], label_map.mask(1))
    np.testing.assert_array_equal(found["malignant", 1], label_map.mask(2))


def test_a_cine_is_segmented_in_the_frames_in_which_something_is(analyse: Analyse) -> None:
    """Each frame of the result names the frame that it is of."""
    analysis = analyse(cine())
    (seg,) = [result for role, result in results(analysis, ALL) if role == "SEG"]
    found = masks_of(read_again(seg))

    assert {("benign", 2), ("benign", 3), ("malignant", 2)} == found.keys()
    for (label, frame_number), mask in found.items():
        number = {"benign": 1, "malignant": 2}[label]
        np.testing.assert_array_equal(mask, analysis.findings[frame_number - 1].label_map.mask(number))
    references = [item for item in _items(seg) if item.get("ReferencedSOPInstanceUID") == "1.2.826.0.1.3680043.8.498.1"]
    assert references
    assert {US_MULTI_FRAME} == {str(item.ReferencedSOPClassUID) for item in references}


def test_frames_share_a_byte_where_their_pixels_fill_none(analyse: Analyse) -> None:
    """Of 127 x 159 pixels the last byte of a frame goes on with the next frame."""
    analysis = analyse(instance(np.stack([GREY[:127, :159]] * 3), regions=[region((0, 0, 158, 126))]))
    (seg,) = [result for role, result in results(analysis, ALL) if role == "SEG"]
    found = masks_of(read_again(seg))

    assert 6 == len(found)
    for (label, frame_number), mask in found.items():
        number = {"benign": 1, "malignant": 2}[label]
        np.testing.assert_array_equal(mask, analysis.findings[frame_number - 1].mask(number))


def test_the_results_of_a_long_cine_take_little_more_memory_than_they_have(analyse: Analyse) -> None:
    """Masks are unpacked one at a time: those of all frames would take more than ten times as much."""
    analysis = analyse(instance(np.stack([squares(512, 512)] * 40), regions=[region((0, 0, 511, 511))]))
    seg_only = ResultOptions(outputs=frozenset(("SEG",)))
    results(analysis, seg_only)  # tables that are loaded once are no part of it
    tracemalloc.start()
    ((_, seg),) = results(analysis, seg_only)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    unpacked = int(seg.NumberOfFrames) * seg.Rows * seg.Columns
    assert unpacked == 80 * 512 * 512
    assert most < unpacked / 2


def test_one_class_alone_is_segment_1(analyse: Analyse) -> None:
    """The label says which it is."""
    part = GREY.copy()
    part[:, :80] = 30
    seg = made_of(analyse, instance(part))["SEG"]

    assert [(1, "malignant")] == [(item.SegmentNumber, item.SegmentLabel) for item in seg.SegmentSequence]
    assert {"malignant"} == {label for label, _ in masks_of(seg)}


def test_nothing_found_is_a_report_alone(analyse: Analyse) -> None:
    """And a capture where the site wants one: no segmentation, no outline."""
    found = made_of(analyse, instance(np.full_like(GREY, 30), regions=[WHOLE]))

    assert {"SC", "SR"} == found.keys()
    assert "Absent" in meanings_in(found["SR"])
    assert [] == values_of(found["SR"], "Area")


def test_a_report_says_area_and_axes_in_the_instances_own_millimetres(analyse: Analyse) -> None:
    """Of each lesion as it was measured."""
    made = instance(GREY, regions=[region((0, 0, 159, 127), PhysicalDeltaX=0.02, PhysicalDeltaY=-0.01)])
    analysis = analyse(made)
    (report,) = [read_again(result) for role, result in results(analysis, ALL) if role == "SR"]
    lesions = analysis.findings[0].measurement.lesions

    assert values_of(report, "Area") == pytest.approx([lesion.pixels * 0.02 for lesion in lesions], abs=0.01)
    assert values_of(report, "Long axis") == pytest.approx(
        [lesion.axes_mm.longest for lesion in lesions if lesion.axes_mm], abs=0.01
    )
    assert ("COMPLETE", "UNVERIFIED", "PRELIMINARY") == (
        report.CompletionFlag,
        report.VerificationFlag,
        report.PreliminaryFlag,
    )


def test_without_calibration_no_number_is_invented(analyse: Analyse) -> None:
    """The outline is there, numbers are not, and the segmentation has no spacing."""
    found = made_of(analyse, instance(GREY))

    assert not [item for item in _items(found["SR"]) if item.get("ValueType") == "NUM"]
    assert [item for item in _items(found["SR"]) if item.get("ValueType") == "SCOORD"]
    assert "PixelSpacing" not in {element.keyword for item in _items(found["SEG"]) for element in item}


def test_areas_of_a_cine_are_told_frame_by_frame(analyse: Analyse) -> None:
    """Those of the key frame first; each lesion with the frame that it is of, and tracked by itself."""
    analysis = analyse(cine())
    (report,) = [read_again(result) for role, result in results(analysis, ALL) if role == "SR"]
    benign, malignant = ([finding.measurement.classes[n].area_mm2 for finding in analysis.findings] for n in (0, 1))

    assert values_of(report, "Area") == pytest.approx([benign[1], malignant[1], benign[2]], abs=0.01)
    groups = [item for item in _items(report) if item.get("ContentTemplateSequence") and is_named(item, "125007")]
    frames = [[at.ReferencedFrameNumber for at in _items(group) if "ReferencedFrameNumber" in at] for group in groups]
    assert [[2], [2], [3]] == frames
    assert 3 == len({item.UID for group in groups for item in group.ContentSequence if "UID" in item})


def is_named(item: Dataset, code_value: str) -> bool:
    """Whether a content item has this concept name."""
    return bool(item.ConceptNameCodeSequence[0].CodeValue == code_value)


def test_viewers_show_the_text_of_a_report_without_outlines(analyse: Analyse) -> None:
    """OHIF draws an Imaging Measurement Report, and fails where there is nothing to draw."""
    found = made_of(analyse, instance(GREY))["SR"]
    nothing = made_of(analyse, instance(np.full_like(GREY, 30)))["SR"]

    assert is_named(found, "126000")
    assert is_named(nothing, "126001")


def test_what_is_tracked_is_the_same_in_all_results(analyse: Analyse) -> None:
    """One UID for a lesion in segmentation, report and outline."""
    found = made_of(analyse, instance(GREY, regions=[WHOLE]))
    segments = {str(item.TrackingUID) for item in found["SEG"].SegmentSequence}
    drawn = {str(item.TrackingUID) for item in _items(found["PR"]) if "TrackingUID" in item}
    reported = {str(item.UID) for item in _items(found["SR"]) if "UID" in item}

    assert 2 == len(segments)
    assert segments == drawn
    assert segments <= reported


@pytest.mark.parametrize("name", [PATIENT_NAME, "Wang^XiaoDong=王^小东"])
@pytest.mark.parametrize("characters", ["ISO_IR 192", "GB18030"])
def test_results_are_of_the_instances_patient_and_study(analyse: Analyse, name: str, characters: str) -> None:
    """In letters that are not English, too."""
    made = instance(GREY, PatientName=name, SpecificCharacterSet=characters)
    for role, result in made_of(analyse, made).items():
        assert (name, PATIENT_ID) == (str(result.PatientName), result.PatientID), role
        assert made.StudyInstanceUID == result.StudyInstanceUID
        assert made.SeriesInstanceUID != result.SeriesInstanceUID


def test_the_source_is_left_as_it_was(analyse: Analyse) -> None:
    """Results share no element with it that they change."""
    analysis = analyse(cine())
    before = analysis.source.header.to_json()
    results(analysis, ALL)

    assert before == analysis.source.header.to_json()


def test_the_same_is_called_the_same_each_time(analyse: Analyse) -> None:
    """And another configuration of what is in a result otherwise; which others there are does not matter."""
    made = instance(GREY, regions=[WHOLE])
    uids = {role: result.SOPInstanceUID for role, result in made_of(analyse, made).items()}
    alone = made_of(analyse, made, ResultOptions(outputs=frozenset(("SEG",))))["SEG"]
    other = made_of(analyse, made, ResultOptions(geometry=False))["SEG"]

    assert uids == {role: result.SOPInstanceUID for role, result in made_of(analyse, made).items()}
    assert 4 == len(set(uids.values()))
    assert uids["SEG"] == alone.SOPInstanceUID != other.SOPInstanceUID


def test_derived_uids_are_what_they_were() -> None:
    """Results of years ago must be found again: this one was derived when the rule was made."""
    assert derived_uid("a", "bc") == derived_uid("a", "bc") != derived_uid("ab", "c")
    uid = result_uid("1.2.3", "sha256:0", "c", "SEG")
    assert "2.25.213789276885513034059336516118862410524" == uid
    assert len(uid) <= 64


def test_the_model_is_named_by_its_digest(analyse: Analyse) -> None:
    """Years later it can be told which weights drew a mask."""
    analysis = analyse(instance(GREY))
    digest = str(analysis.loaded.version.digest)

    for role, result in results(analysis, ALL):
        assert (digest if role in {"SEG", "SR"} else digest[:23]) in read_again(result).to_json(), role


def test_a_capture_has_the_lesions_drawn_in(analyse: Analyse) -> None:
    """In colour, with words that say what it is, on the picture's own grid."""
    capture = made_of(analyse, instance(GREY))["SC"]
    drawn = capture.pixel_array

    assert (128, 160, 3) == drawn.shape
    assert np.ptp(drawn[40, 40].astype(int)) > 20  # tinted
    assert "YES" == capture.BurnedInAnnotation


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyDate", "2026.01.02"),
        ("StudyDate", "20260102\\20260103"),
        ("StudyTime", "10:11:12"),
        ("PatientBirthDate", "1960"),
        ("PatientSex", "Femenino"),
        ("PatientAge", "66"),
        ("ReferringPhysicianName", "Dr. X\\Dr. Y"),
        ("FrameOfReferenceUID", "1.2\\1.3"),
        ("Laterality", "LEFT"),
    ],
)
def test_what_the_standard_does_not_know_is_left_empty(analyse: Analyse, keyword: str, value: str) -> None:
    """Machines write such things, and the answer does not fail over them."""
    made = instance(GREY)
    made[keyword] = DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE)
    found = made_of(analyse, made)

    assert {*ROLES} == found.keys()
    for role, result in found.items():
        assert not result.get(keyword), role


@pytest.mark.parametrize("characters", ["", "ISO_IR 999", ["", "ISO 2022 IR 100"]])
@pytest.mark.filterwarnings("ignore:.*encoding")
def test_letters_survive_a_character_set_that_is_none(analyse: Analyse, characters: str | list[str]) -> None:
    """Where none is named, or one that does not exist: read as Latin-1, as such machines mean it."""
    made = instance(GREY, SpecificCharacterSet="ISO_IR 100", PatientName=PATIENT_NAME)
    content = part10(made)  # encodes the name
    name = PATIENT_NAME.encode("iso8859-1")
    assert name in content
    made = dcmread(io.BytesIO(content))
    made.SpecificCharacterSet = characters
    made[0x00100010] = RawDataElement(Tag(0x00100010), "PN", len(name), name, 0, False, True)  # noqa: FBT003

    for role, result in made_of(analyse, made).items():
        assert PATIENT_NAME == str(result.PatientName), role


def test_a_picture_of_a_palette_has_an_outline_for_colours(analyse: Analyse) -> None:
    """A presentation state for grey may not refer to it (PS3.3 A.33.2)."""
    values: dict[str, Any] = {}
    for colour in ("Red", "Green", "Blue"):
        values[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        values[f"{colour}PaletteColorLookupTableData"] = (np.arange(256, dtype="<u2") * 257).tobytes()
    found = made_of(analyse, instance(GREY, PhotometricInterpretation="PALETTE COLOR", **values))

    assert ColorSoftcopyPresentationStateStorage == found["PR"].SOPClassUID


@pytest.mark.parametrize("uid", ["", "1.2\\1.3"])
def test_an_instance_without_its_uids_gets_no_results(analyse: Analyse, uid: str) -> None:
    """They could refer to nothing."""
    with pytest.raises(IdentityMissing):
        results(analyse(instance(GREY, StudyInstanceUID=uid)), ALL)


def test_an_outline_runs_between_pixels(analyse: Analyse) -> None:
    """Round 3 x 2 pixels from the second column and row: half a pixel outside of their centres, closed."""
    mask = np.zeros((6, 8), np.bool_)
    mask[1:3, 1:4] = True
    points = outline(mask)

    assert points[0].tolist() == points[-1].tolist()
    assert (1.0, 4.0) == (points[:, 0].min(), points[:, 0].max())
    assert (1.0, 3.0) == (points[:, 1].min(), points[:, 1].max())


def test_an_outline_closes_at_the_edge_of_the_picture() -> None:
    """And stays inside of it, with few enough points for an explicit VR."""
    full = np.ones((900, 700), np.bool_)
    points = outline(full)

    assert (0, 0, 700, 900) == (*points.min(axis=0), *points.max(axis=0))
    assert len(points) <= MAX_POINTS


def test_a_lesion_is_found_again_beside_another_that_reaches_around_it(analyse: Analyse) -> None:
    """A small square inside of a large C of the same class."""
    array = np.zeros((40, 40), np.uint8)
    array[5:35, 5:35] = 1
    array[10:30, 10:35] = 0
    array[18:22, 18:22] = 1
    analysis = analyse(instance(GREY))
    template: Any = analysis.findings[0].measurement.lesions[0]
    lesion = replace(template, class_number=1, pixels=16, bbox_xywh=(18, 18, 4, 4))
    mask = lesion_mask(LabelMap(array), lesion)

    assert 16 == mask.sum()
    assert mask[18:22, 18:22].all()
