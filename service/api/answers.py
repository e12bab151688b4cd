"""The answer to a segmentation in each of its formats."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

from starlette.responses import Response

from efsnet import rle
from efsnet.image import Image
from efsnet.preprocessing import to_input
from efsnet.rendering import overlay_png, palette_png
from model_store.loading import LoadedVersion
from service.api import schemas
from service.dicom.analysis import Analysis, FrameFinding
from service.dicom.identity import Role
from service.dicom.results import STANDARD, ResultOptions, results, to_file
from service.errors import NothingFound
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
    image: schemas.UploadedImage | None = None
    """What is told of the image, where it is more than its size."""
    results: ResultOptions = STANDARD
    """How DICOM objects are made."""


def answer(question: Question, segmentation: Segmentation) -> Response:
    """The answer; takes milliseconds of a core, so it is made by a worker."""
    return _with_model(_ANSWERS[question.format](question, segmentation), question)


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
    finding = analysis.key_finding
    if question.format in ROLE_OF:
        return _with_model(_result(question, analysis), question)
    if question.format in ("json", "rle") and len(analysis.findings) > 1:
        return _with_model(_frames(question, analysis), question)
    picture_of = replace(question, image=_image_of(analysis))
    return answer(picture_of, analysis.segmentation(finding))


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
    )


def _image_of(analysis: Analysis) -> schemas.UploadedImage:
    source, region, spacing = analysis.source, analysis.source.region, analysis.spacing
    return schemas.UploadedImage(
        rows=source.rows,
        columns=source.columns,
        pixel_spacing_mm=spacing and (spacing.row_mm, spacing.column_mm),
        region_xywh=(region.left, region.top, region.columns, region.rows),
        frames=source.number_of_frames,
    )


def _timing(seconds: Mapping[str, float]) -> schemas.TimingMs:
    return schemas.TimingMs(**{stage: round(1000 * spent, 3) for stage, spent in seconds.items()})


def _json(question: Question, segmentation: Segmentation) -> Response:
    since = time.perf_counter()
    masks = {area.number: _rle(segmentation, area.number) for area in segmentation.measurement.classes}
    seconds = {**segmentation.seconds, "encode": time.perf_counter() - since}
    content = schemas.SegmentationAnswer(
        request_id=question.request_id,
        model=schemas.model_of(question.loaded),
        image=question.image or _image(segmentation.image),
        mask=_mask(question, segmentation),
        classes=tuple(
            schemas.AreaWithMask(**asdict(area), rle=masks[area.number]) for area in segmentation.measurement.classes
        ),
        lesions=tuple(schemas.Lesion.model_validate(lesion) for lesion in segmentation.measurement.lesions),
        warnings=_warnings(segmentation),
        timing_ms=_timing(seconds),
        notice=NOTICE,
    )
    return Response(content.model_dump_json(), media_type="application/json")


def _masks(question: Question, segmentation: Segmentation) -> Response:
    content = schemas.MasksAnswer(
        request_id=question.request_id,
        model=schemas.model_of(question.loaded),
        mask=_mask(question, segmentation),
        classes=tuple(
            schemas.ClassMask(number=area.number, label=area.label, rle=_rle(segmentation, area.number))
            for area in segmentation.measurement.classes
        ),
        warnings=_warnings(segmentation),
    )
    return Response(content.model_dump_json(), media_type="application/json")


def _png(question: Question, segmentation: Segmentation) -> Response:
    specification = question.loaded.version.manifest.specification
    content = palette_png(segmentation.label_map, specification.classes)
    return _picture(segmentation, content)


def _overlay(question: Question, segmentation: Segmentation) -> Response:
    specification = question.loaded.version.manifest.specification
    image = segmentation.image
    if question.mask_space == "model":
        image = Image(to_input(image, specification.input)[0])
    content = overlay_png(image, segmentation.label_map, specification.classes)
    return _picture(segmentation, content)


_ANSWERS: dict[str, Callable[[Question, Segmentation], Response]] = {
    "json": _json,
    "rle": _masks,
    "png": _png,
    "overlay": _overlay,
}


def _picture(segmentation: Segmentation, content: bytes) -> Response:
    areas = [schemas.Area.model_validate(area).model_dump() for area in segmentation.measurement.classes]
    summary = {"classes": areas, "warnings": [remark.code for remark in segmentation.remarks]}
    headers = {"X-Segmentation-Summary": json.dumps(summary, separators=(",", ":"))}
    return Response(content, headers=headers, media_type="image/png")


def _rle(segmentation: Segmentation, class_number: int) -> schemas.Rle:
    return schemas.Rle.model_validate(rle.encode(segmentation.label_map.mask(class_number)))


def _image(image: Image) -> schemas.UploadedImage:
    spacing = image.spacing and (image.spacing.row_mm, image.spacing.column_mm)
    return schemas.UploadedImage(rows=image.rows, columns=image.columns, pixel_spacing_mm=spacing)


def _mask(question: Question, segmentation: Segmentation) -> schemas.Mask:
    label_map = segmentation.label_map
    return schemas.Mask(space=question.mask_space, rows=label_map.rows, columns=label_map.columns)


def _warnings(segmentation: Segmentation) -> tuple[schemas.Remark, ...]:
    return tuple(schemas.Remark.model_validate(remark) for remark in segmentation.remarks)
