"""Structured report: the measurements and the outline, for reports and viewers (TID 1500, PS3.16)."""

from typing import TYPE_CHECKING, Any

from efsnet.measurement import Lesion
from service.dicom.analysis import FrameFinding
from service.dicom.identity import derived_uid
from service.dicom.results.context import (
    BREAST,
    CATEGORY,
    MANUFACTURER,
    ResultContext,
    code,
    concept_of,
    modifier_of,
)
from service.dicom.results.outlines import lesion_mask, outline

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset

SCHEME, SCHEME_NAME = "99EFSNET", "Codes of the EFSNet service"
ALGORITHM_CLASS = ("class", SCHEME, "Class by the algorithm")
PROCEDURE = ("47079000", "SCT", "Ultrasonography of breast")

DIGITS = 2
"""Of mm and mm², which is more than any image tells."""


def report(context: ResultContext) -> "Dataset":
    """A report in any case: where nothing was found, one that says so.

    Each lesion has its outline, and in a calibrated image area and axes; of a cine those of the key frame come first,
    then those of all other frames. Without calibration there are no numbers: pixels are no measure.
    """
    from highdicom import sr
    from pydicom.sr.codedict import codes

    titles = codes.cid7021
    key = context.analysis.key_finding
    in_order = sorted(context.analysis.findings, key=lambda finding: finding is not key)
    lesions = [group for finding in in_order for group in _lesions(context, finding)]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(context)),
        procedure_reported=code(PROCEDURE),
        imaging_measurements=lesions or [_nothing(context)],
        # OHIF draws a report of the first title, and fails where there is nothing to draw; of others it shows the text.
        title=titles.ImagingMeasurementReport if lesions else titles.OncologyMeasurementReport,
    )
    result = sr.Comprehensive3DSR(
        evidence=[context.as_single_frame],
        content=content,
        is_complete=True,
        is_final=False,
        is_verified=False,
        **context.series("SR", "SR"),
        **context.equipment,
    )
    context.restore_class(result)
    _declare_scheme(result)
    return result


def _observer(context: ResultContext) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    version = context.analysis.loaded.version
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device", str(version.digest)),
            name=version.name,
            manufacturer_name=MANUFACTURER,
            model_name=version.name,
            serial_number="none",
        ),
    )


def _common(context: ResultContext, identifier: str, uid: str) -> dict[str, Any]:
    """What every group of measurements says: what is tracked, where, and which algorithm it was."""
    from highdicom import sr

    version = context.analysis.loaded.version
    return {
        "tracking_identifier": sr.TrackingIdentifier(uid=uid, identifier=identifier),
        "finding_category": code(CATEGORY),
        "finding_sites": [sr.FindingSite(code(BREAST), laterality=context.side)],
        "algorithm_id": sr.AlgorithmIdentification(
            name=version.name,
            version=str(version.number),
            parameters=[f"{name}={value}" for name, value in context.parameters.items()],
        ),
    }


def _lesions(context: ResultContext, finding: FrameFinding) -> "Iterator[Any]":
    """Of a frame."""
    if finding.measurement.lesions:
        label_map = finding.label_map
        for lesion in finding.measurement.lesions:
            yield _lesion(context, finding, lesion, outline(lesion_mask(label_map, lesion)))


def _lesion(context: ResultContext, finding: FrameFinding, lesion: Lesion, points: "NDArray[np.float64]") -> Any:
    """A lesion of a frame; the largest of a class in the key frame is tracked as its segment is."""
    from highdicom import sr

    each, frame_number = context.class_of(lesion.class_number), finding.frame_index + 1
    of_class = [other for other in finding.measurement.lesions if other.class_number == lesion.class_number]
    # Which lesion of one frame is which of the next is not known, so each is tracked by itself.
    frame = "" if finding is context.analysis.key_finding else f" of frame {frame_number}"
    number = of_class.index(lesion) + 1
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=sr.ImageRegion(
            sr.GraphicTypeValues.POLYLINE,
            points,
            source_image=sr.SourceImageForRegion(
                context.header.SOPClassUID,
                context.source_uid,
                referenced_frame_numbers=[frame_number] if context.is_cine else None,
            ),
        ),
        finding_type=concept_of(each),
        measurements=_measurements(lesion) or None,
        qualitative_evaluations=_evaluations(modifier_of(each)),
        **_common(context, f"AI {each.label} {number}{frame}", context.tracking_uid(f"{each.label}{frame}", number)),
    )


def _measurements(lesion: Lesion) -> list[Any]:
    """Area and axes in millimetres; none where they are not known."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    if lesion.area_mm2 is None or lesion.axes_mm is None:
        return []
    return [
        sr.Measurement(name=name, value=round(value, DIGITS), unit=unit)
        for name, value, unit in (
            (codes.SCT.Area, lesion.area_mm2, codes.UCUM.SquareMillimeter),
            (codes.SCT.LongAxis, lesion.axes_mm.longest, codes.UCUM.Millimeter),
            (codes.SCT.ShortAxis, lesion.axes_mm.across, codes.UCUM.Millimeter),
        )
    ]


def _nothing(context: ResultContext) -> Any:
    """That nothing was found is an answer, too."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    return sr.MeasurementsAndQualitativeEvaluations(
        finding_type=codes.SCT.Mass,
        source_images=[sr.SourceImageForMeasurementGroup(context.header.SOPClassUID, context.source_uid)],
        qualitative_evaluations=_evaluations(codes.SCT.Absent),
        **_common(context, "AI: no lesion found", context.tracking_uid("nothing")),
    )


def _evaluations(value: Any) -> list[Any] | None:
    from highdicom import sr

    return [sr.QualitativeEvaluation(name=code(ALGORITHM_CLASS), value=value)] if value else None


def _declare_scheme(result: "Dataset") -> None:
    """A scheme of our own has to be declared (PS3.3 C.12.1.1.2)."""
    from pydicom import Dataset

    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeName = SCHEME, SCHEME_NAME
    result.CodingSchemeIdentificationSequence = [item]
