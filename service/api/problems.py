"""Every error as RFC 9457 problem details, or as the Open Inference Protocol has it.

The only place that knows HTTP status codes of errors.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError, ValidationException, WebSocketRequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import Scope
from starlette.websockets import WebSocket

from efsnet import errors as image_errors
from model_store import errors as store_errors
from service import errors
from service.api.description import add_schemas, schema_of

MEDIA_TYPE = "application/problem+json"

PROTOCOL = "/v2"
"""Where the Open Inference Protocol is spoken."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one kind have in common."""

    status: int
    code: str
    title: str
    retry_after_s: int | None = None


NOT_FOUND = Kind(404, "not_found", "There is nothing at this path")
HEAD_TOO_LARGE = Kind(431, "head_too_large", "The address and the headers are too long")
METHOD_NOT_ALLOWED = Kind(405, "method_not_allowed", "This path does not take this method")
PARAMETER_INVALID = Kind(422, "parameter_invalid", "A parameter cannot be used")
INTERNAL = Kind(500, "internal_error", "The service failed")
CLIENT_GONE = Kind(499, "client_gone", "The client left")  # for log and metrics: nobody is there to read it

KINDS: dict[type[Exception], Kind] = {
    errors.RequestMalformed: Kind(400, "request_malformed", "This is no proper HTTP request"),
    errors.BodyEmpty: Kind(400, "body_empty", "The request has no image"),
    errors.FormMalformed: Kind(400, "form_malformed", "The form cannot be read"),
    errors.FormFieldUnknown: Kind(400, "form_field_unknown", "The form has another field than the one taken"),
    errors.InferenceRequestInvalid: Kind(400, "inference_request_invalid", "The inference request cannot be used"),
    errors.TooManyFiles: Kind(400, "too_many_files", "The form has more than one file"),
    errors.CredentialsMissing: Kind(401, "credentials_missing", "This takes an API key"),
    errors.CredentialsInvalid: Kind(401, "credentials_invalid", "The API key is worth nothing"),
    errors.ScopeMissing: Kind(403, "scope_missing", "The API key is for other things"),
    errors.RateLimited: Kind(429, "rate_limited", "This comes too often", retry_after_s=60),
    errors.IssuerUnavailable: Kind(503, "issuer_unavailable", "Tokens cannot be checked now", retry_after_s=10),
    errors.TicketInvalid: Kind(403, "ticket_invalid", "The ticket opens no stream"),
    errors.OriginRefused: Kind(403, "origin_refused", "Pages of this site may not open streams"),
    errors.MediaTypeNotOffered: Kind(406, "media_type_not_offered", "No accepted media type can be answered"),
    errors.UploadTimedOut: Kind(408, "upload_timed_out", "The upload took too long"),
    errors.BodyTooLarge: Kind(413, "body_too_large", "The upload is too large"),
    errors.MediaTypeUnsupported: Kind(415, "media_type_unsupported", "This kind of body is not taken"),
    errors.TransferSyntaxUnsupported: Kind(
        415, "transfer_syntax_unsupported", "Pixels compressed in this way are not taken"
    ),
    errors.NotUltrasound: Kind(422, "not_ultrasound", "The instance is no ultrasound image"),
    errors.NoTissueRegion: Kind(422, "no_tissue_region", "The instance shows no tissue"),
    errors.NoPixels: Kind(422, "no_pixels", "The instance has no pixels"),
    errors.FrameUnknown: Kind(422, "frame_unknown", "There is no such frame"),
    errors.IdentityMissing: Kind(422, "identity_missing", "The instance lacks its UIDs"),
    errors.NothingFound: Kind(422, "nothing_found", "There is no lesion to be shown"),
    errors.NotDicom: Kind(422, "not_dicom", "The image is no DICOM instance"),
    errors.DecoderUnavailable: Kind(503, "decoder_unavailable", "Frames cannot be decoded now", retry_after_s=5),
    errors.CorrectionsOff: Kind(503, "corrections_off", "Corrections are not kept here"),
    errors.CorrectionInvalid: Kind(422, "correction_invalid", "The correction cannot be used"),
    errors.CorrectionsUnusable: Kind(503, "corrections_unusable", "The folder of corrections cannot be used"),
    errors.QueueFull: Kind(429, "queue_full", "The service is busy", retry_after_s=1),
    errors.TooManyStreams: Kind(429, "too_many_streams", "There are enough live streams", retry_after_s=10),
    errors.ClientGone: CLIENT_GONE,
    errors.ModelNotReady: Kind(503, "model_not_ready", "The model is not ready", retry_after_s=5),
    errors.SelfTestFailed: Kind(503, "selftest_failed", "The model failed its self-test", retry_after_s=60),
    errors.KeysUnusable: Kind(503, "keys_unusable", "The API keys cannot be read"),
    errors.StoreSetBack: Kind(503, "store_set_back", "The model store was set back"),
    errors.VersionTooLarge: Kind(503, "version_too_large", "There is no memory for this version"),
    errors.StateUnusable: Kind(503, "state_unusable", "The service's own folder cannot be used"),
    errors.AuditUnavailable: Kind(503, "audit_unavailable", "This cannot be recorded", retry_after_s=5),
    errors.JobUnknown: Kind(404, "job_unknown", "There is no such job"),
    errors.JobNotInState: Kind(409, "job_not_in_state", "The job is in another state"),
    errors.UIDInvalid: PARAMETER_INVALID,
    errors.JobsUnusable: Kind(503, "jobs_unusable", "The database of the jobs cannot be used", retry_after_s=5),
    errors.PacsNotConfigured: Kind(503, "pacs_not_configured", "There is no PACS"),
    errors.Stopping: Kind(503, "draining", "The service is stopping", retry_after_s=5),
    errors.DeadlineExceeded: Kind(504, "deadline_exceeded", "The answer took too long", retry_after_s=1),
    errors.MemoryShort: Kind(503, "memory_short", "There is no memory for this image now", retry_after_s=5),
    image_errors.GeometryError: PARAMETER_INVALID,
    image_errors.TooManyPixels: Kind(413, "too_many_pixels", "The image has too many pixels"),
    image_errors.ImageFormatUnsupported: Kind(415, "image_format_unsupported", "Images of this format are not taken"),
    image_errors.ImageHasSeveralFrames: Kind(422, "image_has_several_frames", "The file holds several images"),
    image_errors.ImageUndecodable: Kind(422, "image_undecodable", "The image cannot be read"),
    image_errors.EngineUnavailable: Kind(503, "engine_unavailable", "The inference engine is not installed"),
    image_errors.ModelUnusable: Kind(503, "model_unusable", "The model cannot be loaded"),
    store_errors.ModelUnknown: Kind(404, "model_unknown", "There is no such model"),
    store_errors.VersionUnknown: Kind(404, "version_unknown", "There is no such version"),
    store_errors.AliasUnknown: Kind(404, "version_unknown", "There is no such version"),
    store_errors.PromotionInvalid: PARAMETER_INVALID,
    store_errors.PromotionConflict: Kind(409, "promotion_conflict", "The alias names another version than expected"),
    store_errors.PromotionRefused: Kind(
        409, "promotion_refused", "The version may be worse than the one in production"
    ),
    store_errors.NothingToRollBack: Kind(409, "nothing_to_roll_back", "There is no version to go back to"),
    store_errors.Unsigned: Kind(409, "version_unsigned", "The version is not signed"),
    store_errors.SignerUnknown: Kind(409, "signer_unknown", "The version is signed by nobody who is trusted"),
    store_errors.SignatureInvalid: Kind(409, "signature_invalid", "The version's signature is not of this version"),
    store_errors.ManifestInvalid: Kind(503, "version_damaged", "The version is damaged"),
    store_errors.IntegrityError: Kind(503, "version_damaged", "The version is damaged"),
    store_errors.KeyUnusable: Kind(503, "trusted_keys_unusable", "The keys of trusted signers cannot be read"),
    store_errors.StoreUnusable: Kind(503, "store_unusable", "The model store cannot be read"),
    ClientDisconnect: CLIENT_GONE,
}

_HEADERS: dict[type[Exception], dict[str, str]] = {
    errors.RequestMalformed: {"Connection": "close"},
    errors.CredentialsMissing: {"WWW-Authenticate": 'Bearer realm="efsnet"'},
    errors.CredentialsInvalid: {"WWW-Authenticate": 'Bearer realm="efsnet", error="invalid_token"'},
    errors.ScopeMissing: {"WWW-Authenticate": 'Bearer realm="efsnet", error="insufficient_scope"'},
}
"""As RFC 6750 section 3 asks for, and RFC 9112 section 6.3."""

_MOST_INVALID = 16
"""Parameters that an answer tells of: it must not be larger than what it answers."""


class InvalidParameter(BaseModel):
    """What is wrong with one parameter."""

    parameter: str | None = Field(None, description="Name of the parameter; absent if the parameter is not known")
    detail: str


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description="Address of the problem's description", examples=["/problems/queue_full"])
    title: str = Field(examples=["The service is busy"])
    status: int = Field(examples=[429])
    detail: str = Field(description="What happened, and what to do", examples=["The queue is full: try again soon."])
    instance: str = Field(description="Id of the request, as in X-Request-Id and in the log")
    code: str = Field(description="Stable name of the problem", examples=["queue_full"])
    retry_after_s: int | None = Field(None, description="When to try again; as in Retry-After")
    errors: list[InvalidParameter] | None = Field(None, description="With `parameter_invalid`: each one")


class ProblemKind(BaseModel):
    """What all problems of one code have in common."""

    code: str
    status: int
    title: str


class ProtocolError(BaseModel):
    """An error as the Open Inference Protocol has it. Its code is in the header X-Problem-Code."""

    error: str = Field(description="What happened, and what to do", examples=["The queue is full: try again soon."])


def responses(*kinds: type[Exception] | Kind) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI `responses` of an operation that can end in these problems; every operation can fail with a 500."""
    return _described(kinds, lambda kind: kind.status, {MEDIA_TYPE: {"schema": schema_of(Problem)}})


def protocol_responses(*kinds: type[Exception] | Kind) -> dict[int | str, dict[str, Any]]:
    """The same of an operation of the Open Inference Protocol."""
    return _described(kinds, _protocol_status, {"application/json": {"schema": schema_of(ProtocolError)}})


def _described(
    kinds: Sequence[type[Exception] | Kind], status_of: Callable[[Kind], int], content: dict[str, Any]
) -> dict[int | str, dict[str, Any]]:
    by_status: dict[int, list[str]] = {}
    for kind in (*(k if isinstance(k, Kind) else KINDS[k] for k in kinds), INTERNAL):
        by_status.setdefault(status_of(kind), []).append(f"`{kind.code}`: {kind.title}.")
    return {
        status: {"description": "  \n".join(dict.fromkeys(descriptions)), "content": content}
        for status, descriptions in sorted(by_status.items())
    }


def problem_response(
    request: HTTPConnection,
    kind: Kind,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    invalid: Sequence[InvalidParameter] | None = None,
) -> Response:
    """The answer that tells of a problem. Its code stays in the request's state, for metrics and log."""
    request.state.problem_code = kind.code
    headers = dict(headers or {})
    if kind.retry_after_s is not None:
        headers["Retry-After"] = str(kind.retry_after_s)
    if is_of_protocol(path_of(request.scope)):
        headers["X-Problem-Code"] = kind.code
        error = ProtocolError(error=told(request, detail))
        return Response(error.model_dump_json(), _protocol_status(kind), headers, "application/json")
    problem = Problem(
        # A mounted part has a root path of its own, below that of the service.
        type=f"{request.scope.get('app_root_path', request.scope.get('root_path', ''))}/problems/{kind.code}",
        title=kind.title,
        status=kind.status,
        detail=told(request, detail),
        instance=request.state.request_id,
        code=kind.code,
        retry_after_s=kind.retry_after_s,
        errors=None if invalid is None else list(invalid),
    )
    return Response(problem.model_dump_json(exclude_none=True), kind.status, headers, MEDIA_TYPE)


def path_of(scope: Scope) -> str:
    """The path of a request, without the root path."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def is_of_protocol(path: str) -> bool:
    """Whether errors at this path are told as the Open Inference Protocol has them."""
    return path == PROTOCOL or path.startswith(f"{PROTOCOL}/")


def _protocol_status(kind: Kind) -> int:
    """The protocol knows 400 for what cannot be used."""
    return 400 if kind.status == 422 else kind.status


def of_no_request(kind: Kind) -> bytes:
    """The body of the answer to what never became a request, and so has an id that nobody else knows."""
    problem = Problem(
        type=f"/problems/{kind.code}",
        title=kind.title,
        status=kind.status,
        detail="Nothing of it was looked at.",
        instance=uuid.uuid4().hex,
        code=kind.code,
    )
    return problem.model_dump_json(exclude_none=True).encode()


def told(request: HTTPConnection, text: str) -> str:
    """What is told of the service to whoever asks: the names of its folders' settings, and not where they are."""
    return cast(str, request.app.state.told(text))


def install(app: FastAPI) -> None:
    """Lets the application answer every error with a problem."""
    for error in KINDS:
        app.add_exception_handler(error, expected)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(WebSocketRequestValidationError, _stream_validation)
    add_schemas(app, Problem, ProtocolError)


def problem_routes() -> APIRouter:
    """Where the `type` of a problem leads."""
    router = APIRouter(tags=["problems"])
    others = NOT_FOUND, METHOD_NOT_ALLOWED, HEAD_TOO_LARGE, PARAMETER_INVALID, INTERNAL
    kinds = {kind.code: kind for kind in (*KINDS.values(), *others)}

    @router.get("/problems/{code}", responses=responses(NOT_FOUND, PARAMETER_INVALID))
    async def problem(code: str) -> ProblemKind:
        """What a problem's `type` stands for."""
        if code not in kinds:
            raise HTTPException(404)
        kind = kinds[code]
        return ProblemKind(code=kind.code, status=kind.status, title=kind.title)

    return router


def expected(request: HTTPConnection, error: Exception) -> Response:
    """The answer to an error of the table."""
    kind = next(KINDS[base] for base in type(error).__mro__ if base in KINDS)
    return problem_response(request, kind, str(error), headers=_HEADERS.get(type(error)))


def of_http(request: HTTPConnection, error: Exception) -> Response:
    """The answer to an error of the framework."""
    http_error = cast(HTTPException, error)
    status, headers = http_error.status_code, dict(http_error.headers or {})
    if status == 404:
        return problem_response(request, NOT_FOUND, "The paths that exist are listed at /docs.")
    if status == 405:
        detail = f"It takes {headers['Allow']}."
        return problem_response(request, METHOD_NOT_ALLOWED, detail, headers=headers)
    if status == 400:  # FastAPI's, of JSON that is no text; other JSON that cannot be read fails in validation
        detail = "body: JSON decode error."
        return problem_response(
            request, PARAMETER_INVALID, detail, invalid=[InvalidParameter(parameter="body", detail=detail)]
        )
    phrase = HTTPStatus(status).phrase
    kind = Kind(status, phrase.lower().replace(" ", "_"), phrase)
    return problem_response(request, kind, f"{phrase}.", headers=headers)


async def _stream_validation(stream: WebSocket, error: Exception) -> None:
    await stream.send_denial_response(_validation(stream, error))


def _validation(request: HTTPConnection, error: Exception) -> Response:
    found = cast(ValidationException, error).errors()
    # That a parameter might be left out is no advice to who gave it.
    invalid = [_invalid_parameter(item) for item in found if item["type"] != "none_required"][:_MOST_INVALID]
    return problem_response(request, PARAMETER_INVALID, " ".join(i.detail for i in invalid), invalid=invalid)


def _invalid_parameter(item: dict[str, Any]) -> InvalidParameter:
    # A name that is not known is the client's text, which is never repeated.
    if item["type"] == "extra_forbidden":
        return InvalidParameter(
            parameter=None, detail="There is a parameter of an unknown name; /docs lists the known."
        )
    name = "body" if item["type"] == "json_invalid" else str((*item["loc"], item["loc"][0])[1])
    return InvalidParameter(parameter=name, detail=f"{name}: {item['msg'].removeprefix('Value error, ')}.")
