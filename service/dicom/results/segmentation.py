"""DICOM Segmentation: the masks, for programs that go on with them (PS3.3 A.51)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from efsnet.specification import ClassSpecification
from service.dicom.analysis import FrameFinding
from service.dicom.results.context import (
    BREAST,
    CATEGORY,
    ResultContext,
    code,
    code_item,
    concept_of,
    modifier_of,
)

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset


def segmentation(context: ResultContext) -> "Dataset | None":
    """A segment for each class that was found, a frame for each frame in which it was; None if nothing was found.

    Segments are numbered from 1 as the standard asks: which class they are is told by label and codes.
    """
    from highdicom.seg import Segmentation

    present = context.present
    if not present:
        return None
    found = [finding for finding in context.analysis.findings if finding.measurement.lesions]
    result = Segmentation(
        source_images=[context.as_single_frame],
        pixel_array=np.stack([found[0].mask(each.number) for each in present], axis=-1)[np.newaxis].astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[_description(context, number, each) for number, each in enumerate(present, 1)],
        omit_empty_frames=False,
        content_label="AI_SEGMENTATION",
        content_description="Segmentation by AI, not verified",
        content_creator_name="AI^Algorithm",
        **context.series("SEG", "SEG"),
        **context.equipment,
    )
    _frame_by_frame(context, result, found)
    if context.options.geometry:
        _add_geometry(context, result)
    context.restore_class(result)
    # Type 2C where there is no orientation in space, and highdicom leaves it out.
    result.PatientOrientation = ""
    return result


def _description(context: ResultContext, number: int, each: ClassSpecification) -> "SegmentDescription":
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    description = SegmentDescription(
        segment_number=number,
        segment_label=each.label,
        segmented_property_category=code(CATEGORY),
        segmented_property_type=concept_of(each),
        algorithm_type="AUTOMATIC",
        algorithm_identification=context.algorithm,
        tracking_uid=context.tracking_uid(each.label),
        tracking_id=f"AI {each.label} 1",
        anatomic_regions=[code(BREAST)],
        display_color=CIELabColor.from_rgb(*each.colour),
    )
    # highdicom has no argument for these two.
    if modifier := modifier_of(each):
        of_type = description.SegmentedPropertyTypeCodeSequence[0]
        of_type.SegmentedPropertyTypeModifierCodeSequence = [code_item(modifier)]
    if side := context.side:
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [code_item(side)]
    return description


def _frame_by_frame(context: ResultContext, result: "Dataset", found: Sequence[FrameFinding]) -> None:
    """A frame for each class and source frame in which it was found, with what tells them apart.

    highdicom makes the first alone: it refuses several frames without a frame of reference (#284). Masks are unpacked
    one at a time: those of a cine would take gigabytes.
    """
    from pydicom import Dataset

    shared = result.SharedFunctionalGroupsSequence[0] if result.SharedFunctionalGroupsSequence else Dataset()
    template = result.PerFrameFunctionalGroupsSequence[0]
    for group in ("SegmentIdentificationSequence", "DerivationImageSequence"):
        # Of one segment alone it is shared by all frames; readers look for it in each.
        if group in shared:
            setattr(template, group, shared[group].value)
            del shared[group]
    pattern = template.to_json_dict()
    _set_dimensions(result, cine=context.is_cine)
    items, packed = [], PackedBits()
    for number, each in enumerate(context.present, 1):
        for finding in found:
            mask, frame_number = finding.mask(each.number), finding.frame_index + 1
            if not mask.any():
                continue
            item = Dataset.from_json(pattern)
            item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = number
            content = item.FrameContentSequence[0]
            content.DimensionIndexValues = [number]
            if context.is_cine:
                content.DimensionIndexValues = [number, frame_number]
                content.TemporalPositionIndex = frame_number
                item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = frame_number
            items.append(item)
            packed.add(mask)
    result.PerFrameFunctionalGroupsSequence = items
    result.SharedFunctionalGroupsSequence = [shared]
    result.NumberOfFrames = len(items)
    result.PixelData = packed.content()


def _set_dimensions(result: "Dataset", *, cine: bool) -> None:
    from pydicom import Dataset

    organization = result.DimensionOrganizationSequence[0].DimensionOrganizationUID
    pointers = [(0x0062000B, 0x0062000A, "Segment Number")]
    if cine:
        pointers.append((0x00209128, 0x00209111, "Temporal Position Index"))
    items = []
    for pointer, group, label in pointers:
        item = Dataset()
        item.DimensionIndexPointer, item.FunctionalGroupPointer = pointer, group
        item.DimensionOrganizationUID, item.DimensionDescriptionLabel = organization, label
        items.append(item)
    result.DimensionIndexSequence = items


class PackedBits:
    """A bit a pixel, frame after frame without a gap, padded at the end of all to an even length (PS3.5 8.1.1)."""

    def __init__(self) -> None:
        self._whole = bytearray()
        self._rest = np.zeros(0, np.bool_)
        """Pixels that fill no byte yet: the next frame goes on in the same."""

    def add(self, mask: NDArray[np.bool_]) -> None:
        """Goes on with a frame."""
        pixels = np.concatenate([self._rest, mask.ravel()])
        whole = len(pixels) // 8 * 8
        self._whole += np.packbits(pixels[:whole], bitorder="little").tobytes()
        self._rest = pixels[whole:].copy()

    def content(self) -> bytes:
        """All frames so far, as Pixel Data."""
        packed = bytes(self._whole) + np.packbits(self._rest, bitorder="little").tobytes()
        return packed + b"\0" * (len(packed) % 2)


def _add_geometry(context: ResultContext, result: "Dataset") -> None:
    """The instance's own pixel spacing, in a plane that is nowhere: OHIF shows no segmentation without.

    Nothing is added to an instance that is not calibrated: a spacing is never invented.
    """
    from pydicom import Dataset

    spacing = context.analysis.spacing
    if spacing is None:
        return
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [spacing.row_mm, spacing.column_mm], 1
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = result.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    for item in result.PerFrameFunctionalGroupsSequence:
        position = Dataset()
        position.ImagePositionPatient = [0, 0, 0]
        item.PlanePositionSequence = [position]
