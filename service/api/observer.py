"""The outermost layer: every request gets an id, and metrics and log learn how it ended."""

import logging
import re
import time
import traceback
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import CLIENT_GONE, INTERNAL, problem_response
from service.metrics import Metrics

SEGMENTING = frozenset(
    ("/v1/segment", "/v2/models/{name}/infer", "/v2/models/{name}/versions/{reference}/infer"),
)
"""The routes whose requests are counted as segmentations."""

FRAMES = 8
"""Innermost frames of an unexpected error that the log shows: ours, without those of the framework."""

_LOG = logging.getLogger("service.request")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_OUTCOMES = {408: "timeout", 429: "rejected", 499: "cancelled", 504: "timeout"}


class Observer:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, root_path: str) -> None:
        self._app = app
        self._metrics = metrics
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] == "websocket":
            self._place(scope)
            scope.setdefault("state", {})["request_id"] = uuid.uuid4().hex
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        since = time.perf_counter()
        self._place(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = _request_id(Headers(scope=scope).get("x-request-id", ""))
        status = CLIENT_GONE.status

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with self._metrics.http_active.labels(_method(scope)).track_inprogress():
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as error:
                # Without the error's own text, which may quote the input.
                frames = "".join(traceback.format_tb(error.__traceback__, limit=-FRAMES))
                _LOG.error("request_id=%s error=%s\n%s", request_id, type(error).__name__, frames)
                if status != CLIENT_GONE.status:
                    raise
                detail = "The log has more under this request's id."
                response = problem_response(Request(scope), INTERNAL, detail)
                await response(scope, receive, send_with_id)
        self._tell(scope, status, time.perf_counter() - since)

    def _place(self, scope: Scope) -> None:
        """Puts the request under the root path, whether or not the proxy in front took that off."""
        if self._root_path:
            path = scope["path"]
            scope["root_path"] = self._root_path
            scope["path"] = path if path.startswith(f"{self._root_path}/") else self._root_path + path

    def _tell(self, scope: Scope, status: int, duration_s: float) -> None:
        # The template, not the path: what a client writes into a path is no label and no log text.
        state = scope["state"]
        route = state.get("route", "unmatched")
        self._metrics.http_duration.labels(_method(scope), route, status).observe(duration_s)
        served = {key: state.get(key, "") for key in ("model", "version", "format")}
        code, key = state.get("problem_code", ""), state.get("key")
        if route in SEGMENTING:
            self._metrics.requests.labels(**served, outcome=_outcome(status)).inc()
            if code:
                self._metrics.rejected.labels(code).inc()
        words = {
            "request_id": state["request_id"],
            "method": _method(scope),
            "route": route,
            "status": status,
            "duration_ms": f"{duration_s * 1000:.1f}",
            **served,
            "key": key.id if key else "",
            "code": code,
        }
        _LOG.info(" ".join(f"{key}={value}" for key, value in words.items() if value != ""))


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _request_id(given: str) -> str:
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _outcome(status: int) -> str:
    if status < 400:
        return "ok"
    return _OUTCOMES.get(status, "invalid" if status < 500 else "error")
