"""Presentation state: the outline over the picture, which a reader can switch off (PS3.3 A.33)."""

from pathlib import Path
from typing import TYPE_CHECKING

from service.dicom.results.context import ResultContext
from service.dicom.results.outlines import lesion_mask, outline

if TYPE_CHECKING:
    from pydicom import Dataset

LAYER = "AI"


def presentation(context: ResultContext) -> "Dataset | None":
    """The outlines of the key frame's lesions; None if nothing was found."""
    import highdicom
    from highdicom import pr

    key = context.analysis.key_finding
    if not key.measurement.lesions:
        return None
    objects, seen = [], dict.fromkeys((each.label for each in context.present), 0)
    for lesion in key.measurement.lesions:
        seen[lesion.label] += 1
        objects.append(
            pr.GraphicObject(
                graphic_type="POLYLINE",
                units="PIXEL",
                graphic_data=outline(lesion_mask(key.label_map, lesion)),
                tracking_id=f"AI {lesion.label} {seen[lesion.label]}",
                tracking_uid=context.tracking_uid(lesion.label, seen[lesion.label]),
            )
        )
    source = context.as_single_frame
    layer = pr.GraphicLayer(layer_name=LAYER, order=1, description="AI, not verified")
    annotation = pr.GraphicAnnotation(referenced_images=[source], graphic_layer=layer, graphic_objects=objects)
    if context.key_frames:
        annotation.ReferencedImageSequence[0].ReferencedFrameNumber = context.key_frames
    described = {
        "referenced_images": [source],
        "content_label": "AI_OUTLINE",
        "graphic_layers": [layer],
        "graphic_annotations": [annotation],
        **context.series("PR", "outline"),
        **context.equipment,
    }
    if not context.is_in_colours:
        result: Dataset = pr.GrayscaleSoftcopyPresentationState(**described)
    else:
        # One of colours needs a profile, which ultrasound has not: sRGB, in the class that the standard allows.
        profile = Path(highdicom.__file__).parent / "_icc_profiles" / "sRGB_v4_ICC_preference.icc"
        result = pr.ColorSoftcopyPresentationState(icc_profile=profile.read_bytes(), **described)
    context.restore_class(result)
    # highdicom leaves it out.
    result.Laterality = context.laterality
    return result
