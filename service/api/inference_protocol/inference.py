"""From the images of a request to its answer: the use case of POST /v1/segment, once for each image."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.responses import Response

from efsnet.errors import ImageError, TooManyPixels
from efsnet.image import PixelSpacing, pixels_of
from model_store.loading import LoadedVersion
from service import errors
from service.api import schemas as answered
from service.api.answers import NOTICE, uploaded_image
from service.api.inference_protocol import schemas, tensors
from service.segmentation import Segmentation, Segmenter, Upload, parse_spacing
from service.shadow import Shadow

T = TypeVar("T")

JSON_BYTES = "Inference-Header-Content-Length"
"""The header that says how long the JSON is."""


@dataclass(frozen=True, slots=True, eq=False)
class Inferred:
    """What became of an image."""

    rows: int
    columns: int
    """Of its mask."""
    contents: Mapping[schemas.Output, bytes]
    """Its part of each output."""


async def answer(segmenter: Segmenter, shadow: Shadow, inference: tensors.Inference, loaded: LoadedVersion) -> Response:
    """Each image is work of its own for the pool of workers; the answer comes when all of them are done."""
    images, parameters = inference.images, inference.parameters
    spacing = _spacing(parameters.pixel_spacing_mm)
    if len(images) > 1:
        await segmenter.work(lambda _: _refuse_too_many_pixels(images, segmenter.max_pixels))

    def encode(segmentation: Segmentation) -> Inferred:
        shadow.offer(loaded, segmentation)
        return _inferred(segmentation, inference.outputs)

    async def of(number: int) -> Inferred:
        with _told_which(number, len(images)):
            upload = Upload(images[number - 1], spacing, parameters.mask_space)
            return await segmenter.segment(upload, loaded, encode)

    inferred = await _all_or_none([of(number) for number in range(1, len(images) + 1)])
    sizes = {(each.rows, each.columns) for each in inferred}
    if "mask" in inference.outputs and len(sizes) > 1:
        raise errors.InferenceRequestInvalid(
            "The images differ in rows and columns, so that their masks make no tensor: send them apart, or ask for "
            "mask_space=model."
        )
    rows, columns = sizes.pop()
    shapes: Mapping[schemas.Output, tuple[int, ...]] = {
        "mask": (len(images), rows, columns),
        "summary": (len(images), 1),
    }
    outputs = [
        tensors.Tensor(name, shapes[name], tuple(each.contents[name] for each in inferred), behind)
        for name, behind in inference.outputs.items()
    ]
    return _response(inference, loaded, outputs)


def _response(inference: tensors.Inference, loaded: LoadedVersion, outputs: Sequence[tensors.Tensor]) -> Response:
    model = answered.model_of(loaded)
    told = schemas.AnswerParameters.model_validate(model)
    known = {"model_name": model.name, "model_version": str(model.version), "parameters": told.model_dump()}
    if inference.id is not None:
        known["id"] = inference.id
    content, json_bytes = tensors.write(known, outputs)
    headers = {"Cache-Control": "no-store"}
    if json_bytes is None:
        return Response(content, headers=headers, media_type="application/json")
    headers[JSON_BYTES] = str(json_bytes)
    return Response(content, headers=headers, media_type="application/octet-stream")


def _spacing(text: str | None) -> PixelSpacing | None:
    try:
        return parse_spacing(text) if text else None
    except errors.SpacingInvalid as error:
        raise errors.InferenceRequestInvalid(f"parameters.pixel_spacing_mm: {error}.") from error


def _refuse_too_many_pixels(images: Sequence[bytes], max_pixels: int) -> None:
    """All images of a request are in memory together, so they have as many pixels as one alone may have."""
    pixels = 0
    for number, image in enumerate(images, start=1):
        with _told_which(number, len(images)):
            pixels += pixels_of(image)
    if pixels > max_pixels:
        raise TooManyPixels(f"The images have {pixels:,} pixels, more than the {max_pixels:,} that are taken at once.")


@contextmanager
def _told_which(number: int, images: int) -> Iterator[None]:
    """Tells, of one of several images, which could not be used."""
    try:
        yield
    except ImageError as error:
        if images == 1:
            raise
        raise type(error)(f"Image {number} of {images}: {error}") from error


async def _all_or_none(works: Sequence[Coroutine[Any, Any, T]]) -> Sequence[T]:
    """The results; the rest is given up when one fails, or when this is cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _inferred(segmentation: Segmentation, outputs: Mapping[schemas.Output, bool]) -> Inferred:
    label_map = segmentation.label_map
    contents: dict[schemas.Output, bytes] = {}
    for name, behind in outputs.items():
        if name == "mask":
            contents[name] = tensors.mask_content(label_map.array, behind=behind)
        else:
            contents[name] = tensors.summary_content(_summary(segmentation), behind=behind)
    return Inferred(label_map.rows, label_map.columns, contents)


def _summary(segmentation: Segmentation) -> str:
    image, measurement = segmentation.image, segmentation.measurement
    return schemas.Summary(
        image=uploaded_image(image.rows, image.columns, image.spacing),
        classes=tuple(answered.Area.model_validate(area) for area in measurement.classes),
        lesions=tuple(answered.Lesion.model_validate(lesion) for lesion in measurement.lesions),
        warnings=tuple(answered.Remark.model_validate(remark) for remark in segmentation.remarks),
        notice=NOTICE,
    ).model_dump_json()
