"""The routes of the protocol."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from efsnet.errors import (
    EngineUnavailable,
    ImageFormatUnsupported,
    ImageHasSeveralFrames,
    ImageUndecodable,
    ModelUnusable,
    TooManyPixels,
)
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
from service.api.description import schema_of
from service.api.health import ready_version, service_version
from service.api.inference_protocol import schemas, tensors
from service.api.inference_protocol.inference import JSON_BYTES, answer
from service.api.intake import Asked, Intake, unless_gone
from service.api.problems import PARAMETER_INVALID, PROTOCOL, protocol_responses
from service.audit.trail import Trail
from service.shadow import Shadow
from service.versions import Versions

EXTENSIONS = ("binary_tensor_data", "model_configuration")
PLATFORM = "onnxruntime_onnx"

Name = Annotated[str, Path(description="A model", examples=["efsnet"])]
Reference = Annotated[str, Path(description="A number, an alias, or a digest in full", examples=["production"])]
JsonBytes = Annotated[
    int | None,
    Header(
        alias=JSON_BYTES,
        ge=0,
        description="Length of the JSON where something is behind it. 0: the body is an image file and nothing else.",
    ),
]

_INPUTS = (schemas.TensorMetadata(name=schemas.INPUT, datatype="BYTES", shape=(-1, 1)),)
_OUTPUTS = (
    schemas.TensorMetadata(name="mask", datatype="UINT8", shape=(-1, -1, -1)),
    schemas.TensorMetadata(name="summary", datatype="BYTES", shape=(-1, 1)),
)
"""Shapes begin with the number of images."""

_READING = (ModelUnknown, VersionUnknown, IntegrityError, StoreUnusable, errors.StoreSetBack, errors.StateUnusable)
_NOT_READY = (errors.ModelNotReady, errors.SelfTestFailed)
_INFERRING = protocol_responses(
    *(errors.InferenceRequestInvalid, errors.FormMalformed, errors.UploadTimedOut, errors.BodyTooLarge),
    *(errors.MediaTypeUnsupported, errors.QueueFull, errors.VersionTooLarge, errors.DeadlineExceeded),
    *(errors.MemoryShort, PARAMETER_INVALID, EngineUnavailable, ModelUnusable, *_NOT_READY, *_READING),
    *(ImageUndecodable, ImageHasSeveralFrames, ImageFormatUnsupported, TooManyPixels),
    *(Unsigned, SignerUnknown, SignatureInvalid),
)
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": schema_of(schemas.InferenceRequest)},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": f"The outputs: JSON, and where {JSON_BYTES} is set, the bytes of outputs behind it.",
        "content": {
            "application/json": {"schema": schema_of(schemas.InferenceAnswer)},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
        "headers": {JSON_BYTES: {"description": "Length of the JSON", "schema": {"type": "integer"}}},
    }
}


def _asked(request: Request, name: Name) -> Asked:
    """The version that a path names."""
    return Asked(name, request.path_params.get("reference"))


def _of_version(reference: Reference) -> None:
    """Describes the parameter that some paths have."""


Named = Annotated[Asked, Depends(_asked)]


def protocol_routes(intake: Intake, shadow: Shadow, trail: Trail) -> APIRouter:
    """The Open Inference Protocol."""
    router = APIRouter(prefix=PROTOCOL, tags=["Open Inference Protocol"])
    versions = intake.segmenter.versions

    @router.get("", responses=protocol_responses())
    async def server_metadata() -> schemas.ServerMetadata:
        """What speaks the protocol here, and which of its extensions."""
        return schemas.ServerMetadata(name="efsnet", version=service_version(), extensions=EXTENSIONS)

    @router.get("/health/live", responses=protocol_responses())
    async def server_live() -> schemas.Live:
        """As `/livez`."""
        return schemas.Live()

    @router.get("/health/ready", responses=protocol_responses(*_NOT_READY, errors.Stopping, errors.AuditUnavailable))
    async def server_ready(request: Request) -> schemas.ServerReady:
        """As `/readyz`."""
        ready_version(request.app, intake.segmenter, trail)
        return schemas.ServerReady()

    # Not async: it reads the disk, so FastAPI calls it in a thread.
    @router.post("/repository/index", responses=protocol_responses(*_READING, PARAMETER_INVALID))
    def repository_index(asked: schemas.IndexRequest | None = None) -> list[schemas.IndexedVersion]:
        """Every published version."""
        return list(_indexed(versions, in_memory_only=asked is not None and asked.ready))

    of_a_model = APIRouter()
    _add_metadata(of_a_model, versions)
    _add_inference(of_a_model, intake, shadow)
    router.include_router(of_a_model, prefix="/models/{name}")
    router.include_router(of_a_model, prefix="/models/{name}/versions/{reference}", dependencies=[Depends(_of_version)])
    return router


def _indexed(versions: Versions, *, in_memory_only: bool) -> Iterator[schemas.IndexedVersion]:
    in_memory = {loaded.version.digest for loaded in versions.loaded}
    for name in versions.store.names():
        for version in versions.store.versions(name):
            loaded = version.digest in in_memory
            if loaded or not in_memory_only:
                reason = "" if loaded else "It is loaded when it is first asked."
                yield schemas.IndexedVersion(name=name, version=str(version.number), reason=reason)


def _add_metadata(router: APIRouter, versions: Versions) -> None:
    reading = protocol_responses(*_READING, PARAMETER_INVALID)

    def check(asked: Asked) -> str:
        """Its model's name, if there is such a version."""
        name = asked.model or versions.model
        versions.check_name(name)
        if asked.version:
            versions.find(name, asked.version)
        return name

    # Not async: as above.
    @router.get("", responses=reading)
    def model_metadata(asked: Named) -> schemas.ModelMetadata:
        """The inputs and outputs of a model, the same of all versions."""
        name = check(asked)
        numbers = tuple(map(str, versions.store.numbers(name)))
        return schemas.ModelMetadata(name=name, versions=numbers, platform=PLATFORM, inputs=_INPUTS, outputs=_OUTPUTS)

    @router.get("/config", responses=reading)
    def model_configuration(asked: Named) -> schemas.ModelConfiguration:
        """The same in the words of Triton's extension, with the number of images that a request may have."""
        return schemas.ModelConfiguration(
            name=check(asked),
            platform=PLATFORM,
            max_batch_size=schemas.MAX_BATCH,
            input=tuple(map(_configured, _INPUTS)),
            output=tuple(map(_configured, _OUTPUTS)),
        )

    @router.get("/ready", responses=protocol_responses(*_NOT_READY, *_READING, PARAMETER_INVALID))
    async def model_ready(asked: Named) -> schemas.ModelReady:
        """Whether a version can be asked: it answers already, or is loaded when it is first asked."""
        version = await versions.expect(asked.model, asked.version)
        return schemas.ModelReady(name=version.name)


def _configured(tensor: schemas.TensorMetadata) -> schemas.TensorConfiguration:
    data_type: Literal["TYPE_STRING", "TYPE_UINT8"] = "TYPE_STRING" if tensor.datatype == "BYTES" else "TYPE_UINT8"
    return schemas.TensorConfiguration(name=tensor.name, data_type=data_type, dims=tensor.shape[1:])


def _add_inference(router: APIRouter, intake: Intake, shadow: Shadow) -> None:
    @router.post(
        "/infer",
        response_class=Response,
        responses={**_ANSWER, **_INFERRING},
        openapi_extra={"requestBody": _BODY},
    )
    async def infer(request: Request, asked: Named, json_bytes: JsonBytes = None) -> Response:
        """Segments images.

        A file is sent as it is, with the header `Inference-Header-Content-Length: 0`; in base64 within the JSON; or
        several behind the JSON, as the binary tensor data extension has it.
        """
        request.state.format = "protocol"
        async with intake.taken(request, asked, intake.uploads.receive_message) as (body, loaded):
            # Megabytes of base64 take long enough to be no work for the event loop.
            inference = await run_in_threadpool(tensors.read, body, json_bytes)
            request.state.uploads = inference.images
            return await unless_gone(request, answer(intake.segmenter, shadow, inference, loaded))
