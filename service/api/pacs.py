"""The doors through which a PACS sends its images, and a test of the way to it."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from service import errors
from service.api.jobs import UID, needed
from service.api.problems import PARAMETER_INVALID, responses
from service.pacs.multipart import DICOM, RELATED
from service.pacs.pushed import read_pushed, stow_answer

if TYPE_CHECKING:  # a service without a PACS never loads it
    from service.pacs.connection import Connection

_PROBLEMS = (errors.PacsNotConfigured, errors.JobsUnusable, PARAMETER_INVALID)
_JSON = "application/dicom+json"
_INSTANCES = {
    "required": True,
    "content": {RELATED: {"schema": {"type": "string", "format": "binary", "description": f"Parts of {DICOM}"}}},
}


class PacsStep(BaseModel):
    """How a step of the test went."""

    name: str = Field(examples=["query"])
    state: Literal["ok", "failed", "skipped"]
    detail: str
    duration_ms: float


class PacsTest(BaseModel):
    """How the connection to the PACS does."""

    ok: bool = Field(description="No step failed")
    steps: list[PacsStep]


def pacs_routes(connection: "Connection | None") -> APIRouter:
    """For a PACS, and whoever connects it."""
    router = APIRouter(tags=["pacs"])

    @router.post("/v1/pacs/test", responses=responses(*_PROBLEMS))
    async def test() -> PacsTest:
        """Searches the PACS, retrieves from it and stores a marked test object; says which step fails and why.

        Nothing is stored unless `EFSNET_PACS_WRITE` is `true`.
        """
        steps = await asyncio.to_thread(needed(connection).test)
        return PacsTest(
            ok=all(step.state != "failed" for step in steps),
            steps=[
                PacsStep(name=step.name, state=step.state, detail=step.detail, duration_ms=step.duration_ms)
                for step in steps
            ],
        )

    async def taken(request: Request, study: str | None) -> JSONResponse:
        door = needed(connection)
        pushed = await read_pushed(
            request.stream(),
            request.headers.get("content-type", ""),
            study_instance_uid=study,
            max_instance_bytes=door.max_bytes,
        )
        for instance in pushed:
            if instance.order:
                await asyncio.to_thread(door.order, instance.order)
        failed = sum(instance.failure is not None for instance in pushed)
        status = 200 if not failed else 409 if failed == len(pushed) else 202
        return JSONResponse(stow_answer(pushed), status, media_type=_JSON)

    stow_responses = responses(*_PROBLEMS, errors.FormMalformed, errors.MediaTypeUnsupported, errors.BodyTooLarge)
    stow_responses |= {200: {"description": "All are taken", "content": {_JSON: {}}}}
    stow_responses |= {202: {"description": "Some are taken", "content": {_JSON: {}}}}
    stow_responses |= {409: {"description": "None is taken", "content": {_JSON: {}}}}
    described = {"requestBody": _INSTANCES}

    @router.post("/dicom-web/studies", responses=stow_responses, openapi_extra=described, response_class=JSONResponse)
    async def stow(request: Request) -> JSONResponse:
        """STOW-RS: ultrasound instances that the PACS holds are answered there; what is sent itself is not kept."""
        return await taken(request, None)

    @router.post(
        "/dicom-web/studies/{study}", responses=stow_responses, openapi_extra=described, response_class=JSONResponse
    )
    async def stow_study(request: Request, study: Annotated[UID, Path()]) -> JSONResponse:
        """STOW-RS for instances of one study."""
        return await taken(request, study)

    return router
