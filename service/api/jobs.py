"""Jobs: images of the PACS that are to be answered there."""

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, Self

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from service import errors
from service.api.problems import PARAMETER_INVALID, responses
from service.jobs.job import UID_PATTERN, Job, Order, Priority, State, Subject

if TYPE_CHECKING:  # a service without a PACS never loads it
    from service.pacs.connection import Connection

UID = Annotated[str, Field(max_length=64, pattern=UID_PATTERN, examples=["1.2.840.10008.1.1"])]
JobId = Annotated[str, Path(description="Id of the job", max_length=64)]

_PROBLEMS = (errors.PacsNotConfigured, errors.JobsUnusable, PARAMETER_INVALID)


def _named(uid: str) -> dict[str, JsonValue]:
    """The JSON schema of an order that gives this UID."""
    return {"required": [uid], "properties": {uid: {"type": "string"}}}


class JobOrder(BaseModel):
    """What is to be answered: an instance, or all ultrasound instances of a series or study."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        json_schema_extra={
            "if": _named("sop_instance_uid"),
            "then": _named("series_instance_uid"),
        },
    )

    study_instance_uid: UID
    series_instance_uid: UID | None = None
    sop_instance_uid: UID | None = None
    """With it, `series_instance_uid` is needed too."""
    priority: Literal["live", "backfill"] = "live"
    """`backfill` goes behind all live work."""
    reanalyse: bool = False
    """Answers again what has a result of another version of the model."""

    @model_validator(mode="after")
    def _names_a_subject(self) -> Self:
        try:
            _ = self.order
        except errors.UIDInvalid as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def order(self) -> Order:
        """The same for the queue."""
        subject = Subject(self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid)
        return Order(subject, Priority[self.priority.upper()], explicit=True, reanalyse=self.reanalyse)


class StoredResult(BaseModel):
    """A result in the PACS."""

    role: str = Field(examples=["SEG"])
    sop_instance_uid: str


class JobAnswer(BaseModel):
    """A job."""

    @classmethod
    def of(cls, job: Job) -> Self:
        """What is told of a job."""
        subject = job.order.subject
        return cls(
            id=job.id,
            state=job.state,
            priority="backfill" if job.order.priority else "live",
            study_instance_uid=subject.study_instance_uid,
            series_instance_uid=subject.series_instance_uid,
            sop_instance_uid=subject.sop_instance_uid,
            tries=job.tries,
            note=job.note,
            version=job.version,
            results=[StoredResult(role=one.role, sop_instance_uid=one.sop_instance_uid) for one in job.results],
            created_at=job.created_at,
            changed_at=job.changed_at,
            due_at=job.due_at,
        )

    id: str
    state: State
    priority: Literal["live", "backfill"]
    study_instance_uid: str
    series_instance_uid: str | None
    sop_instance_uid: str | None
    tries: int = Field(description="Attempts begun since it was queued")
    note: str = Field(description="What became of the last attempt")
    version: str | None = Field(description="Digest of the model version that answers it")
    results: list[StoredResult]
    created_at: datetime
    changed_at: datetime
    due_at: datetime = Field(description="When a queued job may run")


class JobAccepted(BaseModel):
    """That an order is on the disk."""

    job: JobAnswer
    new: bool = Field(description="False where the same was ordered before: it is that job")


class JobList(BaseModel):
    """Jobs, the one that changed last first."""

    counts: dict[State, int] = Field(description="Jobs in each state, those not listed here included")
    jobs: list[JobAnswer]


def needed(connection: "Connection | None") -> "Connection":
    """The connection, where there is one.

    Raises:
        PacsNotConfigured: There is none.
    """
    if connection is None:
        raise errors.PacsNotConfigured("There is no PACS: set EFSNET_PACS_URL, as docs/pacs.md tells.")
    return connection


def _recorded(job: Job) -> dict[str, str]:
    """What the audit trail says of a job."""
    subject = job.order.subject
    return {"job": job.id, "study": subject.study_instance_uid, "instance": subject.sop_instance_uid or ""}


def job_routes(connection: "Connection | None") -> APIRouter:
    """For a PACS, and whoever looks after it."""
    router = APIRouter(tags=["jobs"])

    @router.post("/v1/jobs", status_code=202, responses=responses(*_PROBLEMS, errors.BodyTooLarge))
    async def order(request: Request, body: JobOrder) -> JobAccepted:
        """Has images of the PACS answered in their study.

        The answer comes at once, when the order is on the disk. To repeat it is harmless: an image is answered once.
        """
        job, new = await asyncio.to_thread(needed(connection).order, body.order)
        request.state.audit = _recorded(job)
        return JobAccepted(job=JobAnswer.of(job), new=new)

    @router.get("/v1/jobs", responses=responses(*_PROBLEMS))
    async def newest(
        state: Annotated[State | None, Query(description="Only those in this state, such as `failed`")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> JobList:
        """The jobs that changed last."""
        queue = needed(connection).queue
        jobs = await asyncio.to_thread(queue.newest, state=state, limit=limit)
        return JobList(counts=await asyncio.to_thread(queue.counts), jobs=[JobAnswer.of(job) for job in jobs])

    @router.get("/v1/jobs/{job}", responses=responses(*_PROBLEMS, errors.JobUnknown))
    async def one(job: JobId) -> JobAnswer:
        """How far a job is."""
        return JobAnswer.of(await asyncio.to_thread(needed(connection).queue.job, job))

    @router.post("/v1/jobs/{job}/retry", responses=responses(*_PROBLEMS, errors.JobUnknown, errors.JobNotInState))
    async def retry(request: Request, job: JobId) -> JobAnswer:
        """Queues a job that failed or was cancelled; one that waits for a later attempt is tried now."""
        again = await asyncio.to_thread(needed(connection).retry, job)
        request.state.audit = _recorded(again)
        return JobAnswer.of(again)

    @router.post("/v1/jobs/{job}/cancel", responses=responses(*_PROBLEMS, errors.JobUnknown, errors.JobNotInState))
    async def cancel(request: Request, job: JobId) -> JobAnswer:
        """Takes a job that waits out of the queue."""
        cancelled = await asyncio.to_thread(needed(connection).queue.cancel, job)
        request.state.audit = _recorded(cancelled)
        return JobAnswer.of(cancelled)

    return router
