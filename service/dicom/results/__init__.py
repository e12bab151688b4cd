"""The answer to an instance as DICOM objects of its study."""

import io
import warnings
from typing import TYPE_CHECKING

from service.dicom.analysis import Analysis
from service.dicom.identity import ROLES, Role
from service.dicom.results.capture import capture
from service.dicom.results.context import ResultContext
from service.dicom.results.options import STANDARD, ResultOptions
from service.dicom.results.presentation import presentation
from service.dicom.results.report import report
from service.dicom.results.segmentation import segmentation

if TYPE_CHECKING:
    from pydicom import Dataset

_MAKERS = {"SEG": segmentation, "SC": capture, "PR": presentation, "SR": report}


def results(analysis: Analysis, options: ResultOptions) -> list[tuple[Role, "Dataset"]]:
    """The results that a site wants, in the order in which they are stored; none for what there is nothing to show.

    Args:
        analysis: On the grid of the whole picture (`mask_space` is `original`).
        options: Which results, and how.

    Raises:
        IdentityMissing: the instance lacks a UID that results refer to.
        ImageUndecodable: the key frame's pixels, of which a capture is made, are damaged.
    """
    context = ResultContext(analysis, options)
    made: list[tuple[Role, Dataset]] = []
    # What highdicom warns of quotes the header, which names a patient.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for role in ROLES:
            if role in options.outputs and (result := _MAKERS[role](context)) is not None:
                # Names are written in Unicode, whatever the source had.
                result.SpecificCharacterSet = "ISO_IR 192"
                made.append((role, result))
    return made


def to_file(result: "Dataset") -> bytes:
    """A result as a DICOM file (PS3.10)."""
    from pydicom import dcmwrite

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(file, result, enforce_file_format=True)
    return file.getvalue()


__all__ = ["STANDARD", "ResultContext", "ResultOptions", "results", "to_file"]
