"""The answer to a segmentation in each of its formats."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from starlette.responses import Response

from efsnet import rle
from efsnet.image import Image, PixelSpacing
from efsnet.maps import LabelMap
from efsnet.measurement import Measurement
from efsnet.preprocessing import to_input
from efsnet.rendering import overlay_png, palette_png
from model_store.loading import LoadedVersion
from service.api import schemas
from service.dicom.analysis import Analysis, FrameFinding
from service.dicom.identity import Role
from service.dicom.results import STANDARD, ResultOptions, results, to_file
from service.errors import NothingFound
from service.illustrations import NO_EXTRAS, Extras, Illustrations, illustrate
from service.remarks import Remark
from service.segmentation import MaskSpace, Segmentation

NOTICE = "Research use only. Not a medical device."

Picture = Literal["json", "rle", "png", "overlay"]
Format = Literal[Picture, "dicom-seg", "dicom-sr", "dicom-sc", "dicom-pr"]
ROLE_OF: Mapping[Format, Role] = {"dicom-seg": "SEG", "dicom-sr": "SR", "dicom-sc": "SC", "dicom-pr": "PR"}
"""The formats that are DICOM objects of the instance's study."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, beside the image."""

    request_id: str
    loaded: LoadedVersion
    format: Format
    mask_space: MaskSpace
    extras: Extras = NO_EXTRAS
    results: ResultOptions = STANDARD
    """How DICOM objects are made."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one picture, whatever file it came in."""

    label_map: LabelMap
    measurement: Measurement
    remarks: Sequence[Remark]
    seconds: Mapping[str, float]
    illustrations: Illustrations
    told: schemas.UploadedImage
    """What is told of the image."""
    image: Callable[[], Image]
    """Decodes it where that is needed again."""


def answer(question: Question, segmentation: Segmentation) -> Response:
    """The answer to an image; takes milliseconds of a core, so it is made by a worker."""
    image = segmentation.image
    found = Found(
        segmentation.label_map,
        segmentation.measurement,
        segmentation.remarks,
        segmentation.seconds,
        illustrate(segmentation, question.extras),
        uploaded_image(image.rows, image.columns, image.spacing),
        lambda: image,
    )
    return _with_model(_ANSWERS[question.format](question, found), question)


def _with_model(response: Response, question: Question) -> Response:
    version = question.loaded.version
    response.headers["X-Model-Name"] = version.name
    response.headers["X-Model-Version"] = str(version.number)
    response.headers["X-Model-Digest"] = str(version.digest)
    response.headers["Cache-Control"] = "no-store"
    return response


def answer_of_instance(question: Question, analysis: Analysis) -> Response:
    """The answer to a DICOM instance: of a single frame as to an image, of several frame by frame.

    Pictures are of the key frame.

    Raises:
        ImageUndecodable: The frame of the picture is damaged.
        NothingFound: A segmentation or outline was asked for, and nothing was found.
        IdentityMissing: A DICOM object was asked for, and the instance lacks a UID that it would refer to.
    """
    if question.format in ROLE_OF:
        return _with_model(_result(question, analysis), question)
    if question.format in ("json", "rle") and len(analysis.findings) > 1:
        return _with_model(_frames(question, analysis), question)
    finding = analysis.key_finding
    found = Found(
        finding.label_map,
        finding.measurement,
        finding.remarks,
        finding.seconds,
        finding.illustrations,
        _image_of(analysis),
        lambda: analysis.picture(finding),
    )
    return _with_model(_ANSWERS[question.format](question, found), question)


def _result(question: Question, analysis: Analysis) -> Response:
    """One result as a DICOM file."""
    role = ROLE_OF[question.format]
    made = results(analysis, replace(question.results, outputs=frozenset((role,))))
    if not made:
        raise NothingFound("No lesion was found, and this format cannot say so: ask for format=dicom-sr or json.")
    ((_, result),) = made
    return Response(to_file(result), media_type="application/dicom")


def _frames(question: Question, analysis: Analysis) -> Response:
    first = analysis.findings[0]
    content = schemas.FramesAnswer(
        request_id=question.request_id,
        model=schemas.model_of(question.loaded),
        image=_image_of(analysis),
        mask=schemas.Mask(space=question.mask_space, rows=first.rows, columns=first.columns),
        key_frame_number=analysis.key_frame_index + 1,
        frames=tuple(_frame(finding) for finding in analysis.findings),
        notice=NOTICE,
    )
    return Response(content.model_dump_json(), media_type="application/json")


def _frame(finding: FrameFinding) -> schemas.FrameAnswer:
    measurement = finding.measurement
    return schemas.FrameAnswer(
        frame_number=finding.frame_index + 1,
        classes=tuple(
            schemas.AreaWithMask(**asdict(area), rle=schemas.Rle.model_validate(finding.masks[area.number]))
            for area in measurement.classes
        ),
        lesions=tuple(schemas.Lesion.model_validate(lesion) for lesion in measurement.lesions),
        warnings=tuple(schemas.Remark.model_validate(remark) for remark in finding.remarks),
        timing_ms=_timing(finding.seconds),
        picture=finding.illustrations.picture,
    )


def _image_of(analysis: Analysis) -> schemas.UploadedImage:
    source, region = analysis.source, analysis.source.region
    told = uploaded_image(source.rows, source.columns, analysis.spacing)
    box = (region.left, region.top, region.columns, region.rows)
    return told.model_copy(update={"region_xywh": box, "frames": source.number_of_frames})


def uploaded_image(rows: int, columns: int, spacing: PixelSpacing | None) -> schemas.UploadedImage:
    """What is told of an image of one frame."""
    given = spacing and (spacing.row_mm, spacing.column_mm)
    return schemas.UploadedImage(rows=rows, columns=columns, pixel_spacing_mm=given)


def _timing(seconds: Mapping[str, float]) -> schemas.TimingMs:
    return schemas.TimingMs(**{stage: round(1000 * spent, 3) for stage, spent in seconds.items()})


def _json(question: Question, found: Found) -> Response:
    since = time.perf_counter()
    masks = {area.number: _rle(found, area.number) for area in found.measurement.classes}
    seconds = {**found.seconds, "encode": time.perf_counter() - since}
    content = schemas.SegmentationAnswer(
        request_id=question.request_id,
        model=schemas.model_of(question.loaded),
        image=found.told,
        mask=_mask(question, found),
        classes=tuple(
            schemas.AreaWithMask(**asdict(area), rle=masks[area.number]) for area in found.measurement.classes
        ),
        lesions=tuple(schemas.Lesion.model_validate(lesion) for lesion in found.measurement.lesions),
        warnings=_warnings(found),
        timing_ms=_timing(seconds),
        picture=found.illustrations.picture,
        tumour_probability=found.illustrations.tumour_probability,
        notice=NOTICE,
    )
    return Response(content.model_dump_json(), media_type="application/json")


def _masks(question: Question, found: Found) -> Response:
    content = schemas.MasksAnswer(
        request_id=question.request_id,
        model=schemas.model_of(question.loaded),
        mask=_mask(question, found),
        classes=tuple(
            schemas.ClassMask(number=area.number, label=area.label, rle=_rle(found, area.number))
            for area in found.measurement.classes
        ),
        warnings=_warnings(found),
    )
    return Response(content.model_dump_json(), media_type="application/json")


def _png(question: Question, found: Found) -> Response:
    specification = question.loaded.version.manifest.specification
    content = palette_png(found.label_map, specification.classes)
    return _picture(found, content)


def _overlay(question: Question, found: Found) -> Response:
    specification = question.loaded.version.manifest.specification
    image = found.image()
    if question.mask_space == "model":
        image = Image(to_input(image, specification.input)[0])
    content = overlay_png(image, found.label_map, specification.classes)
    return _picture(found, content)


_ANSWERS: dict[str, Callable[[Question, Found], Response]] = {
    "json": _json,
    "rle": _masks,
    "png": _png,
    "overlay": _overlay,
}


def _picture(found: Found, content: bytes) -> Response:
    areas = [schemas.Area.model_validate(area).model_dump() for area in found.measurement.classes]
    summary = {"classes": areas, "warnings": [remark.code for remark in found.remarks]}
    headers = {"X-Segmentation-Summary": json.dumps(summary, separators=(",", ":"))}
    return Response(content, headers=headers, media_type="image/png")


def _rle(found: Found, class_number: int) -> schemas.Rle:
    return schemas.Rle.model_validate(rle.encode(found.label_map.mask(class_number)))


def _mask(question: Question, found: Found) -> schemas.Mask:
    label_map = found.label_map
    return schemas.Mask(space=question.mask_space, rows=label_map.rows, columns=label_map.columns)


def _warnings(found: Found) -> tuple[schemas.Remark, ...]:
    return tuple(schemas.Remark.model_validate(remark) for remark in found.remarks)
