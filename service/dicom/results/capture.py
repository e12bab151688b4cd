"""Secondary capture: the picture with the lesions drawn in, which every workstation shows (PS3.3 A.8.1)."""

from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from efsnet.rendering import overlay
from service.dicom.results.context import ResultContext

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

WORDS = "AI, NOT VERIFIED, NOT FOR DIAGNOSIS"
YELLOW = (255, 255, 0)


def capture(context: ResultContext) -> "Dataset":
    """Of the key frame, whether anything was found or not."""
    from highdicom.sc import SCImage
    from pydicom import Dataset
    from pydicom.uid import ExplicitVRLittleEndian

    source = context.as_single_frame
    result: Dataset = SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=_drawn(context),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **context.series("SC", "overlay"),
        **context.equipment,
    )
    # highdicom asks for an orientation; that of an ultrasound is not known, and never invented.
    result.PatientOrientation = ""
    result.BurnedInAnnotation = "YES"
    # highdicom leaves it out.
    result.Laterality = context.laterality
    reference = Dataset()
    reference.ReferencedSOPClassUID = context.header.SOPClassUID
    reference.ReferencedSOPInstanceUID = context.source_uid
    if context.key_frames:
        reference.ReferencedFrameNumber = context.key_frames
    result.SourceImageSequence = [reference]
    context.restore_class(result)
    return result


def _drawn(context: ResultContext) -> "NDArray[np.uint8]":
    """(rows, columns, 3): outlines, tints, and words that say what it is."""
    analysis = context.analysis
    key, version = analysis.key_finding, analysis.loaded.version
    classes = version.manifest.specification.classes
    picture = PIL.Image.fromarray(overlay(analysis.picture(key), key.label_map, classes))
    size = max(10, picture.height // 40)
    words = f"{version.name} {version.number}: {WORDS}"
    ImageDraw.Draw(picture).text(
        (size, picture.height - 2 * size), words, fill=YELLOW, font=ImageFont.load_default(size)
    )
    return np.asarray(picture)
