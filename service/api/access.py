"""Who may call what: one table of every route, and what is not in it is not there."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service import errors
from service.api import problems
from service.keys import KeyRing
from service.keys import Scope as KeyScope

POLICY_VIOLATION = 1008
"""With which a WebSocket is closed (RFC 6455 section 7.4.1)."""

MAX_DECISION_BYTES = 64_000
"""Of the body of a request that decides or orders something; images have a limit of their own."""

JOBS = "/v1/jobs"


@dataclass(frozen=True, slots=True)
class Route:
    """A route, and what a key must be for to call it."""

    methods: str
    path: str
    scope: KeyScope | None
    """None: everybody may."""

    def matches(self, path: str) -> bool:
        """Whether a request's path is of this route."""
        return _pattern(self.path).fullmatch(path) is not None


ROUTES = (
    Route("POST", "/v1/segment", "infer"),
    Route("GET", "/v1/models", "read"),
    Route("GET", "/v1/models/{name}", "read"),
    Route("GET", "/v1/models/{name}/versions/{reference}", "read"),
    Route("GET", "/v1/models/{name}/shadow", "read"),
    Route("PUT", "/v1/models/{name}/aliases/{alias}", "publish"),
    Route("POST", "/v1/models/{name}/aliases/{alias}/rollback", "publish"),
    Route("POST", "/v1/models/{name}/aliases/{alias}/withdraw", "publish"),
    Route("POST", JOBS, "infer"),
    Route("GET", JOBS, "read"),
    Route("GET", "/v1/jobs/{job}", "read"),
    Route("POST", "/v1/jobs/{job}/retry", "infer"),
    Route("POST", "/v1/jobs/{job}/cancel", "infer"),
    Route("POST", "/v1/pacs/test", "infer"),
    Route("POST", "/dicom-web/studies", "infer"),
    Route("POST", "/dicom-web/studies/{study}", "infer"),
    # Whoever checks on the service has no key: they tell versions and counts, nothing of a patient.
    Route("GET", "/livez", None),
    Route("GET", "/readyz", None),
    Route("GET", "/metrics", None),
    Route("GET", "/version", None),
    # The page and the documents, which are the same everywhere.
    Route("GET HEAD", "/", None),
    Route("GET HEAD", "/page/{file}", None),
    Route("GET HEAD", "/openapi.json", None),
    Route("GET", "/docs", None),
    Route("GET", "/docs/oauth2-redirect", None),
    Route("GET", "/redoc", None),
    Route("GET HEAD", "/static-offline-docs/{file}", None),
    Route("GET", "/problems/{code}", None),
)


@cache
def _pattern(path: str) -> re.Pattern[str]:
    """Of the paths that a template stands for; a file's name may have slashes."""
    whole = re.escape(path).replace(r"\{file\}", ".+")
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", whole))


class Guard:
    """ASGI middleware: nothing of a request is read before it is known that its sender may send it."""

    def __init__(self, app: ASGIApp, *, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        if scope["type"] == "http":
            request = Request(scope)
            try:
                self._check(scope)
            except HTTPException as error:
                await problems.of_http(request, error)(scope, receive, send)
                return
            except errors.ServiceError as error:
                await problems.expected(request, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        routes = [route for route in ROUTES if route.matches(path)]
        if not routes:
            raise HTTPException(404)
        route = next((route for route in routes if scope["method"] in route.methods.split()), None)
        scope["route"] = route or routes[0]  # for metrics and log, where the request gets no further
        if route is None:
            allowed = ", ".join(sorted(method for other in routes for method in other.methods.split()))
            raise HTTPException(405, headers={"Allow": allowed})
        if route.scope is not None:
            headers = Headers(scope=scope)
            scope["state"]["key"] = self._keys.holder(headers.get("authorization"), route.scope)
            if route.scope in ("publish", "admin") or (route.path == JOBS and route.methods == "POST"):
                _refuse_large(headers)


def _refuse_large(headers: Headers) -> None:
    """Of a decision, before it is read: a body without a length is of any."""
    length = headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_DECISION_BYTES:
        raise errors.BodyTooLarge(f"A decision has at most {MAX_DECISION_BYTES:,} bytes, and a Content-Length.")


def describe(app: FastAPI) -> None:
    """Adds to the description of the API what takes a key, so that /docs asks for it."""
    describe_rest = app.openapi
    refusals = problems.responses(
        *(errors.CredentialsMissing, errors.CredentialsInvalid, errors.ScopeMissing),
        *(errors.KeysUnusable, errors.StateUnusable),
    )

    def described() -> dict[str, Any]:
        document = describe_rest()
        document["components"]["securitySchemes"] = {
            "key": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key, as `python -m service keys create` makes; needed once there is one.",
            }
        }
        for route in ROUTES:
            for method in route.methods.lower().split():
                operation = document["paths"].get(route.path, {}).get(method)
                if operation and route.scope:
                    operation["security"] = [{"key": []}]
                    for status, response in refusals.items():
                        operation["responses"].setdefault(str(status), response)
        return document

    app.openapi = described  # type: ignore[method-assign] # FastAPI's own way to extend the document
