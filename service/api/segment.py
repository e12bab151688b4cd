"""POST /v1/segment: an image goes in, its mask and areas come out."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.json_schema import SkipJsonSchema
from python_multipart.multipart import parse_options_header
from starlette.responses import Response

from efsnet.errors import (
    EngineUnavailable,
    GeometryError,
    ImageFormatUnsupported,
    ImageHasSeveralFrames,
    ImageUndecodable,
    ModelUnusable,
    TooManyPixels,
)
from efsnet.image import PixelSpacing
from model_store.errors import (
    IntegrityError,
    ModelUnknown,
    SignatureInvalid,
    SignerUnknown,
    StoreUnusable,
    Unsigned,
    VersionUnknown,
)
from service import errors
from service.api.answers import ROLE_OF, Format, Question, answer, answer_of_instance
from service.api.bodies import FIELD
from service.api.intake import Asked, Intake, unless_gone
from service.api.problems import PARAMETER_INVALID, responses
from service.api.schemas import FramesAnswer, MasksAnswer, SegmentationAnswer
from service.api.uploads import FORM, RAW
from service.dicom.analyser import Analyser, DicomUpload
from service.dicom.source import is_dicom
from service.illustrations import Extras
from service.segmentation import MaskSpace, Segmentation, Upload, parse_spacing
from service.shadow import Shadow

_OFFERED: dict[str, Format] = {
    "application/json": "json",
    "application/*": "json",
    "*/*": "json",
    "image/png": "png",
    "image/*": "png",
    "application/dicom": "dicom-seg",
}
_FILE = {"type": "string", "format": "binary", "description": "A PNG, JPEG, BMP, TIFF or DICOM file"}
_BODY = {
    "required": True,
    "content": {
        FORM: {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _FILE}}},
        **{media_type: {"schema": _FILE} for media_type in RAW},
    },
}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The masks and areas, or a picture of them.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in ("image/png", "application/dicom")
        },
        "headers": {
            name: {"description": description, "schema": {"type": "string"}}
            for name, description in {
                "X-Model-Name": "Model that gave the answer",
                "X-Model-Version": "Number of its version",
                "X-Model-Digest": "Digest of its version",
                "X-Segmentation-Summary": "With `image/png`: the areas and the codes of the warnings, as JSON",
            }.items()
        },
    }
}
_PROBLEMS = responses(
    *(errors.BodyEmpty, errors.FormMalformed, errors.FormFieldUnknown, errors.TooManyFiles),
    *(errors.MediaTypeNotOffered, errors.UploadTimedOut, errors.BodyTooLarge, errors.MediaTypeUnsupported),
    *(errors.QueueFull, errors.ModelNotReady, errors.VersionTooLarge, errors.DeadlineExceeded, PARAMETER_INVALID),
    *(errors.DecoderUnavailable, errors.MemoryShort),
    *(errors.IdentityMissing, errors.NothingFound, errors.NotDicom),
    *(errors.NotUltrasound, errors.NoTissueRegion, errors.NoPixels, errors.FrameUnknown),
    errors.TransferSyntaxUnsupported,
    *(ImageUndecodable, ImageHasSeveralFrames, ImageFormatUnsupported, TooManyPixels),
    *(ModelUnknown, VersionUnknown, IntegrityError, StoreUnusable, ModelUnusable, EngineUnavailable),
    *(Unsigned, SignerUnknown, SignatureInvalid, errors.StoreSetBack, errors.StateUnusable),
)


class SegmentQuery(BaseModel):
    """The query of POST /v1/segment."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Format | SkipJsonSchema[None] = None
    """`json`: all that is known, with the masks as COCO run lengths. `rle`: those masks only. `png`: a palette PNG
    whose pixel values are class numbers. `overlay`: the image with the lesions drawn. `dicom-seg`, `dicom-sr`,
    `dicom-sc`, `dicom-pr`: a DICOM instance's segmentation, structured report, secondary capture with the overlay, or
    presentation state with the outlines. Without it, `Accept` decides."""
    mask_space: MaskSpace = "original"
    """Grid of the mask: `original` is the image's own, `model` is the network's."""
    model: Annotated[str, Field(min_length=1, max_length=64)] | SkipJsonSchema[None] = None
    """Name of the model; the service's default model without it."""
    version: Annotated[str, Field(min_length=1, max_length=80, examples=["production"])] | SkipJsonSchema[None] = None
    """A version's number, alias, or digest in full; `production` without it."""
    pixel_spacing_mm: Annotated[str, Field(max_length=64, examples=["0.1,0.1"])] | SkipJsonSchema[None] = None
    """Distance between rows and between columns in mm, as ROW,COLUMN. Areas in mm² are given only with it, or where a
    DICOM instance states it."""
    frame: Annotated[int, Field(ge=1, le=1_000_000, examples=[1])] | SkipJsonSchema[None] = None
    """Of a DICOM instance of several frames, the one to segment, from 1; all of them without it."""

    pictures: bool = False
    """With `json`: the image as the network saw it, beside the answer."""
    probabilities: bool = False
    """With `json`, of one picture: the probability of a tumour of each pixel, as a picture on the network's grid."""

    @field_validator("pixel_spacing_mm")
    @classmethod
    def _is_a_spacing(cls, text: str | None) -> str | None:
        _spacing(text)
        return text

    @property
    def extras(self) -> Extras:
        """The pictures that are asked for beside the answer."""
        return Extras(self.pictures, self.probabilities)

    @property
    def frame_index(self) -> int | None:
        """The asked frame, from 0."""
        return None if self.frame is None else self.frame - 1

    @property
    def spacing(self) -> PixelSpacing | None:
        """The given pixel spacing."""
        return _spacing(self.pixel_spacing_mm)


def _spacing(text: str | None) -> PixelSpacing | None:
    if text is None:
        return None
    try:
        return parse_spacing(text)
    except errors.SpacingInvalid as error:
        raise ValueError(str(error)) from error


def segment_routes(intake: Intake, analyser: Analyser, shadow: Shadow) -> APIRouter:
    """The use of the service."""
    router = APIRouter(tags=["segmentation"])
    segmenter = intake.segmenter

    async def analysed(upload: DicomUpload, question: Question) -> Response:
        analysis = await analyser.analyse(upload, question.loaded)
        return await segmenter.work(lambda _: answer_of_instance(question, analysis))

    @router.post(
        "/v1/segment",
        response_model=SegmentationAnswer | MasksAnswer | FramesAnswer,
        responses={**_PICTURE, **_PROBLEMS},
        openapi_extra={"requestBody": _BODY},
    )
    async def segment(request: Request, query: Annotated[SegmentQuery, Query()]) -> Response:
        """Segments a breast ultrasound image.

        Send the file as the form field `image`, or as the body itself:

            curl -F image=@image.png http://127.0.0.1:8000/v1/segment
            curl -H 'Content-Type: image/png' --data-binary @image.png 'http://127.0.0.1:8000/v1/segment?format=rle'

        The image is resized to the version's input, and the mask comes back on the image's own grid. Of a DICOM
        instance the region of tissue is segmented; one of several frames is answered frame by frame.
        """
        if query.mask_space == "model" and query.format in ROLE_OF:
            raise GeometryError("DICOM answers are on the instance's own grid: leave out mask_space=model.")
        request.state.format = asked = query.format or _negotiated(",".join(request.headers.getlist("accept")))
        async with intake.taken(request, Asked(query.model, query.version), intake.uploads.receive) as (data, loaded):
            request.state.uploads = (data,)
            question = Question(request.state.request_id, loaded, asked, query.mask_space, query.extras)
            if is_dicom(data):
                instance = DicomUpload(data, query.frame_index, query.spacing, query.mask_space, query.extras)
                return await unless_gone(request, segmenter.in_time(analysed(instance, question)))
            if asked in ROLE_OF:
                raise errors.NotDicom("DICOM answers refer to a DICOM instance: send one, or ask for another format.")
            if query.frame_index:
                raise errors.FrameUnknown("The file holds one picture, and no frame of that number.")

            def encode(segmentation: Segmentation) -> Response:
                response = answer(question, segmentation)
                shadow.offer(loaded, segmentation)
                return response

            upload = Upload(data, query.spacing, query.mask_space)
            return await unless_gone(request, segmenter.segment(upload, loaded, encode))

    return router


def _negotiated(accept: str) -> Format:
    """The format of the most wanted media type that is offered (RFC 9110 section 12.5.1)."""
    wanted = [_media_range(item) for item in (accept or "*/*").split(",")]
    for media_type, quality in sorted(wanted, key=lambda item: -item[1]):
        if media_type in _OFFERED and quality > 0:
            return _OFFERED[media_type]
    raise errors.MediaTypeNotOffered("Answers are application/json or image/png; or say ?format=json|png|rle|overlay.")


def _media_range(item: str) -> tuple[str, float]:
    media_type, options = parse_options_header(item.strip())
    try:
        return media_type.decode("latin-1"), float(options.get(b"q", 1))
    except ValueError:
        return "", 0.0
