"""Between a request's end and its answer: the line of the audit trail."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import problems
from service.api.access import STREAM
from service.audit.act import Act, Outcome
from service.audit.trail import Trail
from service.errors import AuditUnavailable

ACT_OF: Mapping[tuple[str, str], str] = {
    ("POST", "/v1/segment"): "image_segmented",
    ("POST", "/v2/models/{name}/infer"): "image_segmented",
    ("POST", "/v2/models/{name}/versions/{reference}/infer"): "image_segmented",
    ("POST", f"{STREAM}/ticket"): "stream_admitted",
    ("POST", "/v1/corrections"): "correction_kept",
    ("PUT", "/v1/models/{name}/aliases/{alias}"): "version_promoted",
    ("POST", "/v1/models/{name}/aliases/{alias}/rollback"): "version_rolled_back",
    ("POST", "/v1/models/{name}/aliases/{alias}/withdraw"): "alias_withdrawn",
    ("POST", "/v1/admin/selftest"): "self_tested",
    ("POST", "/v1/jobs"): "job_ordered",
    ("POST", "/v1/jobs/{job}/retry"): "job_retried",
    ("POST", "/v1/jobs/{job}/cancel"): "job_cancelled",
    ("POST", "/v1/pacs/test"): "pacs_tested",
    ("POST", "/dicom-web/studies"): "instances_received",
    ("POST", "/dicom-web/studies/{study}"): "instances_received",
}
"""What is recorded of a request that was let in; reading what is published is not."""

REFUSALS = (401, 403)
"""Recorded of every route."""


class Auditor:
    """ASGI middleware: no answer leaves before its line is kept. It stands around the guard, whose refusals it records.

    Handlers say in `request.state.audit` what else there is to record, and in `request.state.uploads` which files.
    """

    def __init__(self, app: ASGIApp, *, trail: Trail) -> None:
        self._app = app
        self._trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and its answer once it is recorded."""
        if not self._trail.on or scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            if scope["type"] == "websocket":
                await self._stream(scope, receive, send)
                return
            if scope["method"] in ("POST", "PUT"):
                self._trail.check()
        except AuditUnavailable as error:
            await problems.expected(HTTPConnection(scope), error)(scope, receive, send)
            return
        withheld = False

        async def send_recorded(message: Message) -> None:
            nonlocal withheld
            if withheld:
                return
            if message["type"] == "http.response.start":
                try:
                    await self._record(scope, message["status"])
                except AuditUnavailable as error:
                    withheld = True
                    await problems.expected(HTTPConnection(scope), error)(scope, receive, send)
                    return
            await send(message)

        await self._app(scope, receive, send_recorded)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._trail.check()
        opened, code = False, 1006

        async def send_recorded(message: Message) -> None:
            nonlocal opened, code
            if message["type"] == "websocket.accept":
                await self._trail.recorded(_act("stream_opened", scope, "success", {}))
                opened = True
            elif message["type"] == "websocket.close":
                code = message.get("code", code)
            elif message["type"] == "websocket.http.response.start":
                await self._record(scope, message["status"])
            await send(message)

        async def receive_end() -> Message:
            nonlocal code
            message = await receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code", code)
            return message

        try:
            await self._app(scope, receive_end, send_recorded)
        finally:
            if opened:
                await self._trail.recorded(_act("stream_closed", scope, "success", {"code": code}))

    async def _record(self, scope: Scope, status: int) -> None:
        route = scope["state"].get("route", STREAM if scope["type"] == "websocket" else "")
        name = ACT_OF.get((scope.get("method", ""), route))
        if status in REFUSALS:
            name = "access_refused"
        if name:
            outcome: Outcome = "success" if status < 400 else "refused" if status < 500 else "failed"
            act = _act(name, scope, outcome, {"route": route, "status": status})
            # A line for each image: of a batch too, whoever asks for one finds it.
            images: Sequence[bytes | None] = scope["state"].get("uploads") or (None,)
            for image in images:
                await self._trail.recorded(replace(act, image=image))


def _act(name: str, scope: Scope, outcome: Outcome, more: Mapping[str, Any]) -> Act:
    known: Mapping[str, Any] = scope["state"]
    key, client = known.get("key"), scope.get("client")
    details = {"request_id": known.get("request_id", ""), **more, "problem": known.get("problem_code", "")}
    return Act(
        name,
        outcome,
        who=str(key) if key else None,
        address=client[0] if client else None,
        details={**details, **known.get("audit", {})},
    )
