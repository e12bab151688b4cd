"""Ultrasound instances made for the tests. Nobody's: the patient is called what no patient is."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

US, US_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1"
SECONDARY_CAPTURE, CT = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.2"

PATIENT_NAME = "Planted^Señora Íñiguez"
PATIENT_ID = "PLANTED-4711"


def squares(rows: int = 128, columns: int = 160) -> NDArray[np.uint8]:
    """Dark, with a benign square on the left and a malignant one on the right, as the tiny model sees them."""
    grey = np.full((rows, columns), 30, np.uint8)
    grey[rows // 4 : rows // 2, columns // 8 : columns * 3 // 8] = 150
    grey[rows // 2 : rows * 3 // 4, columns * 5 // 8 : columns * 7 // 8] = 230
    return grey


def region(box: tuple[int, int, int, int], **others: Any) -> Dataset:
    """An item of the Sequence of Ultrasound Regions: tissue in two dimensions, 0.1 mm a pixel unless said otherwise.

    Args:
        box: First column and row, last column and row.
        others: Attributes in place of those.
    """
    item = Dataset()
    names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    for name, position in zip(names, box, strict=True):
        setattr(item, f"RegionLocation{name}", position)
    values: dict[str, Any] = {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "RegionFlags": 0,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": 0.01,
        "PhysicalDeltaY": 0.01,
    }
    for keyword, value in (values | others).items():
        setattr(item, keyword, value)
    return item


def instance(pixels: NDArray[Any], *, regions: Sequence[Dataset] = (), **others: Any) -> Dataset:
    """A data set of (rows, columns[, 3]) pixels, or (frames, rows, columns[, 3]) of a cine.

    Args:
        pixels: Stored values.
        regions: Of tissue or what else.
        others: Attributes in place of those that fit the pixels.
    """
    colours = pixels.ndim >= 3 and pixels.shape[-1] == 3
    frames = pixels if pixels.ndim == 3 + colours else pixels[np.newaxis]
    bits = 8 * pixels.dtype.itemsize
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    values: dict[str, Any] = {
        "SOPClassUID": US if len(frames) == 1 else US_MULTI_FRAME,
        "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1",
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.2",
        "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.3",
        "Modality": "US",
        "PatientName": PATIENT_NAME,
        "PatientID": PATIENT_ID,
        "PatientBirthDate": "19600102",
        "PatientSex": "F",
        "StudyDate": "20260102",
        "StudyTime": "101112",
        "StudyID": "1",
        "AccessionNumber": "A1",
        "ReferringPhysicianName": "",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "ImageType": ["ORIGINAL", "PRIMARY", "BREAST", "0001"],
        "Manufacturer": "Made for tests",
        "PatientOrientation": "",
        "SamplesPerPixel": 3 if colours else 1,
        "PhotometricInterpretation": "RGB" if colours else "MONOCHROME2",
        "Rows": frames.shape[1],
        "Columns": frames.shape[2],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(np.issubdtype(pixels.dtype, np.signedinteger)),
    }
    if colours:
        values["PlanarConfiguration"] = 0
    if len(frames) > 1:
        values |= {"NumberOfFrames": len(frames), "FrameTime": 40, "FrameIncrementPointer": 0x00181063}
    for keyword, value in (values | others).items():
        setattr(made, keyword, value)
    if regions:
        made.SequenceOfUltrasoundRegions = list(regions)
    content = frames.tobytes()
    made.PixelData = content + b"\0" * (len(content) % 2)
    made["PixelData"].VR = "OB" if bits == 8 else "OW"
    return made


def part10(data_set: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The DICOM file of a data set; its pixels must be of that transfer syntax already."""
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    file = io.BytesIO()
    dcmwrite(file, data_set, enforce_file_format=True)
    return file.getvalue()
