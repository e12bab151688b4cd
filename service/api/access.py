"""Who may call what: one table of every route, and what is not in it is not there."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from service import errors
from service.api import problems
from service.api.rates import Rates
from service.holders import Holders
from service.keys import Key
from service.keys import Scope as KeyScope
from service.live.tickets import Tickets

MAX_DECISION_BYTES = 64_000
"""Of the body of a request that brings no image; those have limits of their own."""

JOBS = "/v1/jobs"

STREAM = "/v1/stream"
"""The WebSocket. It takes a key for `infer` in the header, as all else, or a ticket in the query."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route, and what a key must be for to call it."""

    methods: str
    path: str
    scope: KeyScope | None
    """None: everybody may."""
    uploads: bool = False
    """Whether it brings images, and reads its body within bounds of its own."""

    def matches(self, path: str) -> bool:
        """Whether a request's path is of this route."""
        return _pattern(self.path).fullmatch(path) is not None


ROUTES = (
    Route("POST", "/v1/segment", "infer", uploads=True),
    Route("POST", f"{STREAM}/ticket", "infer"),
    Route("POST", "/v1/corrections", "correct", uploads=True),
    Route("GET", "/v1/models", "read"),
    Route("GET", "/v1/models/{name}", "read"),
    Route("GET", "/v1/models/{name}/versions/{reference}", "read"),
    Route("GET", "/v1/models/{name}/shadow", "read"),
    Route("PUT", "/v1/models/{name}/aliases/{alias}", "publish"),
    Route("POST", "/v1/models/{name}/aliases/{alias}/rollback", "publish"),
    Route("POST", "/v1/models/{name}/aliases/{alias}/withdraw", "publish"),
    Route("POST", "/v1/admin/selftest", "admin"),
    Route("POST", JOBS, "infer"),
    Route("GET", JOBS, "read"),
    Route("GET", "/v1/jobs/{job}", "read"),
    Route("POST", "/v1/jobs/{job}/retry", "infer"),
    Route("POST", "/v1/jobs/{job}/cancel", "infer"),
    Route("POST", "/v1/pacs/test", "infer"),
    Route("POST", "/dicom-web/studies", "infer", uploads=True),
    Route("POST", "/dicom-web/studies/{study}", "infer", uploads=True),
    Route("GET", "/v2/models/{name}", "read"),
    Route("GET", "/v2/models/{name}/ready", "read"),
    Route("GET", "/v2/models/{name}/config", "read"),
    Route("POST", "/v2/models/{name}/infer", "infer", uploads=True),
    Route("GET", "/v2/models/{name}/versions/{reference}", "read"),
    Route("GET", "/v2/models/{name}/versions/{reference}/ready", "read"),
    Route("GET", "/v2/models/{name}/versions/{reference}/config", "read"),
    Route("POST", "/v2/models/{name}/versions/{reference}/infer", "infer", uploads=True),
    Route("POST", "/v2/repository/index", "read"),
    # Whoever checks on the service has no key: they tell versions and counts, nothing of a patient.
    Route("GET", "/livez", None),
    Route("GET", "/readyz", None),
    Route("GET", "/metrics", None),
    Route("GET", "/version", None),
    Route("GET", "/v2", None),
    Route("GET", "/v2/health/live", None),
    Route("GET", "/v2/health/ready", None),
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
    """ASGI middleware: nothing of a request is read before it is known that its sender may send it.

    Args:
        app: What is guarded.
        holders: Who may.
        rates: How often.
        tickets: Which open a stream in place of a key.
        origins: Sites beside our own whose pages may open streams.
    """

    def __init__(
        self, app: ASGIApp, *, holders: Holders, rates: Rates, tickets: Tickets, origins: Collection[str]
    ) -> None:
        self._app = app
        self._holders = holders
        self._rates = rates
        self._tickets = tickets
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] in ("http", "websocket"):
            request = HTTPConnection(scope)
            try:
                if scope["type"] == "http":
                    await self._check(scope)
                else:
                    await self._check_stream(request)
            except HTTPException as error:
                await problems.of_http(request, error)(scope, receive, send)
                return
            except errors.ServiceError as error:
                await problems.expected(request, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _check_stream(self, opening: HTTPConnection) -> None:
        if problems.path_of(opening.scope) != STREAM:
            raise HTTPException(404)
        origin = opening.headers.get("origin", "").lower()  # only browsers send one
        if origin and _site(origin) != opening.headers.get("host", "").lower() and origin not in self._origins:
            raise errors.OriginRefused(
                "Pages of this site may not open streams: EFSNET_STREAM_ORIGINS names those that may."
            )
        ticket, header = opening.query_params.get("ticket"), opening.headers.get("authorization")
        if ticket is not None and header is None:
            key = self._holders.named(self._tickets.redeem(ticket).key_id, "infer")
        else:
            key = await self._holder(opening.scope, header, "infer")
        opening.scope["state"]["key"] = key

    async def _holder(self, scope: Scope, header: str | None, needed: KeyScope) -> Key | None:
        try:
            key = await self._holders.holder(header, needed)
        except errors.CredentialsInvalid:
            # Counted when they are wrong alone: who knocks at every door keeps nobody with a key out.
            self._rates.count_wrong((scope.get("client") or ("",))[0])
            raise
        if key:
            self._rates.count_request(key.id)
        return key

    async def _check(self, scope: Scope) -> None:
        path = problems.path_of(scope)
        routes = [route for route in ROUTES if route.matches(path)]
        if not routes:
            raise HTTPException(404)
        route = next((route for route in routes if scope["method"] in route.methods.split()), None)
        scope["state"]["route"] = (route or routes[0]).path  # for metrics, log and audit trail
        if route is None:
            allowed = ", ".join(sorted(method for other in routes for method in other.methods.split()))
            raise HTTPException(405, headers={"Allow": allowed})
        headers = Headers(scope=scope)
        _refuse_two_lengths(headers)
        if route.scope is not None:
            scope["state"]["key"] = await self._holder(scope, headers.get("authorization"), route.scope)
        if not route.uploads:
            _refuse_large(headers)


def _site(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _refuse_two_lengths(headers: Headers) -> None:
    """Whoever says a length and then sends chunks of any would pass limits, or slip a request behind a proxy's."""
    if "transfer-encoding" in headers and "content-length" in headers:
        raise errors.RequestMalformed("Send a Content-Length or a Transfer-Encoding, not both.")


def _refuse_large(headers: Headers) -> None:
    """Before it is read: a body in chunks is of any length."""
    if "transfer-encoding" in headers or int(headers.get("content-length", 0)) > MAX_DECISION_BYTES:
        raise errors.BodyTooLarge(f"This takes at most {MAX_DECISION_BYTES:,} bytes, with a Content-Length.")


def describe(app: FastAPI) -> None:
    """Adds to the description of the API what takes a key, so that /docs asks for it."""
    describe_rest = app.openapi
    kinds = (
        *(errors.CredentialsMissing, errors.CredentialsInvalid, errors.ScopeMissing),
        *(errors.KeysUnusable, errors.StateUnusable, errors.RateLimited, errors.IssuerUnavailable),
        errors.BodyTooLarge,
    )
    of_ours, of_the_protocol = problems.responses(*kinds), problems.protocol_responses(*kinds)

    def described() -> dict[str, Any]:
        document = describe_rest()
        document["components"]["securitySchemes"] = {
            "key": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key, as `python -m service keys create` makes, needed once there is one; "
                "or a token of the issuer that EFSNET_OIDC_ISSUER names.",
            }
        }
        for route in ROUTES:
            for method in route.methods.lower().split():
                operation = document["paths"].get(route.path, {}).get(method)
                if operation and route.scope:
                    operation["security"] = [{"key": []}]
                    refusals = of_the_protocol if problems.is_of_protocol(route.path) else of_ours
                    for status, response in refusals.items():
                        operation["responses"].setdefault(str(status), response)
        return document

    app.openapi = described  # type: ignore[method-assign] # FastAPI's own way to extend the document
