"""POST /v1/corrections: an expert's label map is kept for training, where the operator wants that."""

import base64
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.concurrency import run_in_threadpool

from efsnet import rle
from efsnet.errors import ArrayInvalid, ImageFormatUnsupported, ImageUndecodable, TooManyPixels
from efsnet.image import Image, decode_image
from efsnet.maps import LabelMap
from efsnet.rle import RunLengths
from service import errors
from service.api.bodies import has_many_members
from service.api.description import schema_of
from service.api.problems import responses
from service.api.schemas import Rle
from service.api.uploads import UploadLimits, read_upload
from service.corrections import Correction, Corrections, Decision
from service.settings import Settings
from service.versions import Versions

JSON = "application/json"
_PROBLEMS = responses(
    *(errors.CorrectionsOff, errors.CorrectionsUnusable, errors.CorrectionInvalid, errors.ModelNotReady),
    *(errors.BodyTooLarge, errors.UploadTimedOut, errors.MediaTypeUnsupported, errors.BodyEmpty),
    *(ImageUndecodable, ImageFormatUnsupported, TooManyPixels),
)


class CorrectedMask(BaseModel):
    """The mask of one class, as answers have it."""

    model_config = ConfigDict(extra="forbid")

    number: Annotated[int, Field(ge=1, le=255)]
    rle: Rle


class CorrectionBody(BaseModel):
    """An expert's masks of a picture."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    picture: Annotated[str, Field(min_length=1)]
    """The picture of an answer that was asked for with `pictures`: a data URL."""
    region_xywh: tuple[int, int, int, int] | None = None
    """Of a DICOM answer, the part of the picture that was analysed: nothing else of it is kept, since text and names
    may be drawn in there. All of it without."""
    masks: Annotated[tuple[CorrectedMask, ...], Field(max_length=16)]
    """Of each class that is marked, on the picture's own grid; none where nothing is to be marked."""
    patient: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
    """Whatever tells patients apart; a code made of it is kept, not itself."""
    decision: Decision
    """`accepted`: the answer was left as it was."""
    version: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
    """Digest of the version that answered."""


class Kept(BaseModel):
    """What was kept."""

    file: Annotated[str, Field(examples=["3f0c9a1b2d4e5f60.png"])]
    """In `images/` and `masks/` of the folder."""


def correction_routes(corrections: Corrections, versions: Versions, settings: Settings) -> APIRouter:
    """The experts' say."""
    router = APIRouter(tags=["corrections"])
    limits = UploadLimits(2 * settings.max_body_bytes, 2 * settings.max_body_bytes)
    body = {"required": True, "content": {JSON: {"schema": schema_of(CorrectionBody)}}}

    @router.post("/v1/corrections", status_code=201, responses=_PROBLEMS, openapi_extra={"requestBody": body})
    async def correct(request: Request) -> Kept:
        """Keeps an expert's masks of a picture, for training; nothing, unless `EFSNET_CORRECTIONS` names where."""
        if not corrections.on:
            raise errors.CorrectionsOff("Nothing is kept here: whoever runs the service has not named where.")
        classes = versions.default.version.manifest.specification.classes
        content = await read_upload(request, limits=limits, timeout_s=settings.upload_timeout_s, accepted=(JSON,))

        def keep() -> Kept:
            given = _parsed(content)
            image = _image(given.picture, settings.max_pixels)
            image, label_map = _within(given, image, _label_map(given, image))
            correction = Correction(image, label_map, given.patient, given.decision, given.version, classes)
            return Kept(file=corrections.save(correction))

        kept = await run_in_threadpool(keep)
        request.state.audit = {"file": kept.file}
        return kept

    return router


def _parsed(content: bytes) -> CorrectionBody:
    if has_many_members(content):
        raise errors.CorrectionInvalid("It has more members than a correction can have.")
    try:
        return CorrectionBody.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise errors.CorrectionInvalid(f"{where}: {first['msg']}.") from error


def _image(picture: str, max_pixels: int) -> Image:
    try:
        content = base64.b64decode(picture.rpartition(",")[2], validate=True)
    except ValueError as error:
        raise errors.CorrectionInvalid("picture: it is no data URL of a picture.") from error
    return decode_image(content, max_pixels=max_pixels)


def _within(given: CorrectionBody, image: Image, label_map: LabelMap) -> tuple[Image, LabelMap]:
    """Both, cut to the region."""
    if given.region_xywh is None:
        return image, label_map
    left, top, columns, rows = given.region_xywh
    if not (0 <= left < left + columns <= image.columns and 0 <= top < top + rows <= image.rows):
        raise errors.CorrectionInvalid("region_xywh: it is no part of the picture.")
    part = (slice(top, top + rows), slice(left, left + columns))
    return (
        Image(np.ascontiguousarray(image.pixels[part])),
        LabelMap(np.ascontiguousarray(label_map.array[part])),
    )


def _label_map(given: CorrectionBody, image: Image) -> LabelMap:
    """The masks as one map; where two cover a pixel, the graver class, which has the higher number."""
    label_map = np.zeros((image.rows, image.columns), dtype=np.uint8)
    for each in sorted(given.masks, key=lambda mask: mask.number):
        if each.rle.size != (image.rows, image.columns):
            raise errors.CorrectionInvalid("The masks have another size than the picture.")
        try:
            mask = rle.decode(RunLengths(size=list(each.rle.size), counts=each.rle.counts))
        except ArrayInvalid as error:
            raise errors.CorrectionInvalid("A mask's run lengths are not those of its size.") from error
        label_map[mask] = each.number
    return LabelMap(label_map)
