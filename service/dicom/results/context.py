"""What all results of an instance have in common."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from efsnet.specification import ClassSpecification
from service.dicom.analysis import Analysis
from service.dicom.identity import Role, result_uid
from service.dicom.pixels import MONOCHROME
from service.dicom.results.options import ResultOptions
from service.errors import IdentityMissing

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from pydicom import DataElement, Dataset
    from pydicom.sr.coding import Code

MANUFACTURER = "EFSNet service"
ULTRASOUND_IMAGE = "1.2.840.10008.5.1.4.1.1.6.1"
CATEGORY = ("49755003", "SCT", "Morphologically Abnormal Structure")
BREAST = ("76752008", "SCT", "Breast")
SEXES = ("F", "M", "O")
SIDES = {"L": ("7771000", "SCT", "Left"), "R": ("24028007", "SCT", "Right")}

_OF_CINES = ("NumberOfFrames", "FrameTime", "FrameTimeVector", "FrameIncrementPointer")
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_SINGLE = ("PatientName", "ReferringPhysicianName", "StudyDate", "StudyTime", "PatientBirthDate", "FrameOfReferenceUID")
_FORMS = ("AS", "CS", "DA", "DS", "DT", "IS", "TM")
"""Value representations that are no free text: dates, times, codes and numbers."""
_PATIENT_AND_STUDY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Type 2: present in each object, if empty."""


@dataclass(frozen=True)
class ResultContext:
    """An analysis, and how its results are to be made.

    Raises:
        IdentityMissing: the instance does not say which study, series and instance it is.
    """

    analysis: Analysis
    options: ResultOptions

    def __post_init__(self) -> None:
        said = {element.keyword: element.value for element in _readable(self.analysis.source.header)}
        # Of several values pydicom makes a list.
        if not all(isinstance(said.get(keyword), str) and said[keyword] for keyword in _NEEDED):
            raise IdentityMissing("The instance lacks the UID of its study, series, instance or SOP class.")

    @property
    def header(self) -> "Dataset":
        """Of the source, which nobody changes."""
        return self.analysis.source.header

    @cached_property
    def as_single_frame(self) -> "Dataset":
        """The header as that of a single ultrasound image, with all that highdicom asks for.

        It takes each multi-frame class for an enhanced one with a frame of reference, which ultrasound is not
        (highdicom #284, #369); `restore_class` puts the true class back.
        """
        from pydicom import Dataset

        header = Dataset()
        for keyword in _PATIENT_AND_STUDY:
            setattr(header, keyword, "")
        for element in _readable(self.header):
            if element.keyword not in _OF_CINES and not _is_strange(element):
                header[element.tag] = element
        # Text is Unicode by now; machines name character sets that do not exist, and highdicom raises at those.
        changed: dict[str, Any] = {"SOPClassUID": ULTRASOUND_IMAGE, "SpecificCharacterSet": "ISO_IR 192"}
        if self.is_in_colours:
            changed["SamplesPerPixel"] = 3  # also of a palette, which highdicom takes for grey
        for keyword, value in changed.items():
            # Not by assignment alone, which would change the element, and so the source.
            header.pop(keyword, None)
            setattr(header, keyword, value)
        return header

    def restore_class(self, result: "Dataset") -> None:
        """Puts the source's true SOP class into every reference to it."""
        for element in result:
            if element.VR == "SQ":
                for item in element.value:
                    if str(item.get("ReferencedSOPInstanceUID", "")) == self.source_uid:
                        item.ReferencedSOPClassUID = self.header.SOPClassUID
                    self.restore_class(item)

    @property
    def source_uid(self) -> str:
        """SOP Instance UID of the source."""
        return self.analysis.source.sop_instance_uid

    @property
    def is_in_colours(self) -> bool:
        """Whether the source is, be it by a palette."""
        return self.analysis.source.layout.photometric_interpretation not in MONOCHROME

    @property
    def is_cine(self) -> bool:
        """Whether the source has several frames, so that references name one."""
        return self.analysis.source.number_of_frames > 1

    @property
    def key_frames(self) -> list[int] | None:
        """The key frame's number as references have it, from 1; None where the source has one frame alone."""
        return [self.analysis.key_frame_index + 1] if self.is_cine else None

    @property
    def configuration_digest(self) -> str:
        """Of all that decides what the results say, beside source and model."""
        engine, spacing = self.analysis.loaded.predictor.engine, self.analysis.spacing
        return f"{self.options.digest} {engine.precision} {spacing}"

    def uid(self, role: str) -> str:
        """Of a result, its series or what is tracked in it."""
        digest = str(self.analysis.loaded.version.digest)
        return result_uid(self.source_uid, digest, self.configuration_digest, role)

    def tracking_uid(self, label: str, number: int = 1) -> str:
        """Of the lesions of a class, from 1 for the largest, which the segment of that class shares."""
        return self.uid(f"track {label} {number}")

    def class_of(self, number: int) -> ClassSpecification:
        """A class by its number."""
        return self.analysis.loaded.version.manifest.specification.classes[number]

    @property
    def present(self) -> list[ClassSpecification]:
        """Lesion classes that were found in any frame."""
        found = {lesion.class_number for finding in self.analysis.findings for lesion in finding.measurement.lesions}
        return [self.class_of(number) for number in sorted(found)]

    @property
    def equipment(self) -> Mapping[str, Any]:
        """What made the result, in highdicom's words."""
        version = self.analysis.loaded.version
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": version.name,
            "software_versions": f"{version.number} {str(version.digest)[:23]}",
            "device_serial_number": "none",
        }

    def series(self, role: Role, words: str) -> Mapping[str, Any]:
        """The series and instance of a result, in highdicom's words; viewers show some 24 characters of it."""
        version = self.analysis.loaded.version
        return {
            "series_instance_uid": self.uid(f"{role} series"),
            "series_number": self.options.series_numbers[role],
            "sop_instance_uid": self.uid(role),
            "instance_number": 1,
            "series_description": f"AI {words} unverified, {version.name} {version.number}",
        }

    @property
    def parameters(self) -> Mapping[str, str]:
        """Of the algorithm: what one needs to draw the same mask again."""
        engine = self.analysis.loaded.predictor.engine
        return {
            "digest": str(self.analysis.loaded.version.digest),
            "engine": engine.name,
            "provider": engine.provider,
            "precision": engine.precision,
        }

    @property
    def algorithm(self) -> "AlgorithmIdentificationSequence":
        """Which model it was (PS3.3 10.16)."""
        from highdicom import AlgorithmIdentificationSequence
        from pydicom.sr.codedict import codes

        version = self.analysis.loaded.version
        return AlgorithmIdentificationSequence(
            name=version.name,
            version=str(version.number),
            source=MANUFACTURER,
            family=codes.cid7162.ArtificialIntelligence,
            parameters=dict(self.parameters),
        )

    @property
    def laterality(self) -> str:
        """L or R, where the instance says it; of a paired organ it is there in each series, if empty (type 2C)."""
        stated = self.as_single_frame.get("Laterality") or self.as_single_frame.get("ImageLaterality")
        return stated if isinstance(stated, str) and stated in SIDES else ""

    @property
    def side(self) -> "Code | None":
        """Of the breast, where the instance says it."""
        return code(SIDES[self.laterality]) if self.laterality else None


def _readable(header: "Dataset") -> "Iterator[DataElement]":
    """The standard's elements that can be read, of a header that may be damaged where nobody has looked yet."""
    from pydicom.datadict import dictionary_VR

    for tag in header.keys():  # noqa: SIM118 - elements themselves would end at the first that is damaged
        with suppress(Exception):  # pydicom meets damaged values with nearly any, and private ones with KeyError
            if (element := header[tag]).VR in dictionary_VR(tag):
                yield element


def _is_strange(element: "DataElement") -> bool:
    """Whether the standard does not know such a value, at which highdicom may raise: a date with dots, two names.

    It is left empty, as what is not known. Identifiers are kept whatever they are: by them a PACS finds the patient.
    """
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    if element.keyword == "PatientSex" and element.value:
        return element.value not in SEXES
    if element.VM > 1 and element.keyword in _SINGLE:
        return True
    if element.VR not in _FORMS:
        return False
    try:
        for value in element.value if element.VM > 1 else [element.value]:
            validate_value(element.VR, "" if value is None else str(value), RAISE)
    except ValueError:
        return True
    return False


def code(specified: tuple[str, str, str]) -> "Code":
    """Value, scheme and meaning as a code."""
    from pydicom.sr.coding import Code

    return Code(*specified)


def code_item(of: "Code") -> "Dataset":
    """A code as the item of a code sequence."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = of.value, of.scheme_designator, of.meaning
    return item


def concept_of(each: ClassSpecification) -> "Code":
    """What a class is, as the manifest says: a mass."""
    return code(("4147007", "SCT", "Mass") if each.concept is None else _of(each.concept))


def modifier_of(each: ClassSpecification) -> "Code | None":
    """Benign or malignant, as the manifest says."""
    return None if each.modifier is None else code(_of(each.modifier))


def _of(concept: Any) -> tuple[str, str, str]:
    return concept.value, concept.scheme, concept.meaning
