"""Who may call what."""

import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Message

from model_store.store import ModelStore
from service.api.access import MAX_DECISION_BYTES, ROUTES, Route
from service.keys import KeyRing, Scope
from tests.service.conftest import PNG, Start, app_of, code_of

Keyed = Callable[[Scope], dict[str, str]]


@pytest.fixture
def ring(published_store: ModelStore) -> KeyRing:
    """The keys of a service on the published store."""
    return KeyRing(published_store.root.with_name("store-state") / "keys.json")


@pytest.fixture
def keyed(ring: KeyRing) -> Keyed:
    """Gives the header of a key for a scope."""
    return lambda scope: {"Authorization": f"Bearer {ring.create(scope, [scope], 1)[0]}"}


@pytest.fixture
def guarded(start: Start, keyed: Keyed) -> TestClient:
    """A client of a service that asks for keys."""
    keyed("admin")
    return start()


@pytest.mark.requirement("ACC-1")
def test_every_route_has_its_row(client: TestClient) -> None:
    """A new route is not there until somebody has decided who may call it; and no row is of a route that is gone."""
    described = client.get("/openapi.json").json()["paths"]
    existing = {(method.upper(), path) for path, methods in described.items() for method in methods}
    hidden = {
        "/",
        "/page/{file}",
        "/openapi.json",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/static-offline-docs/{file}",
    }
    rows = {(method, route.path) for route in ROUTES for method in route.methods.split() if route.path not in hidden}

    assert existing == rows


@pytest.mark.requirement("BAD-3")
@pytest.mark.parametrize(
    "route", [route for route in ROUTES if not route.uploads], ids=lambda route: f"{route.methods} {route.path}"
)
def test_a_body_is_bounded_wherever_no_image_is_brought(guarded: TestClient, keyed: Keyed, route: Route) -> None:
    """Before it is read: whoever forgets a bound for a new route has one."""
    method, path = route.methods.split()[0], re.sub(r"\{\w+\}", "x", route.path)
    bodies = bytes(MAX_DECISION_BYTES + 1), iter([b"{}"])
    answers = [guarded.request(method, path, content=body, headers=keyed("admin")) for body in bodies]

    assert [413, 413] == [answer.status_code for answer in answers]


@pytest.mark.requirement("ACC-1")
def test_a_route_without_a_row_is_not_there(start: Start) -> None:
    """To forget the row opens nothing."""
    client = start()

    @app_of(client).get("/forgotten")
    async def forgotten() -> str:
        return "open"

    assert 404 == client.get("/forgotten").status_code


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.scope], ids=lambda route: f"{route.methods} {route.path}"
)
def test_a_route_takes_a_key_of_its_scope(guarded: TestClient, keyed: Keyed, route: Route) -> None:
    """401 without a key, 403 with one for something else, neither with the right one."""
    assert route.scope
    path = re.sub(r"\{\w+\}", "x", route.path)
    wrong: Scope = "read" if route.scope != "read" else "infer"
    answers = [
        guarded.request(route.methods, path, headers=headers)
        for headers in ({}, {"Authorization": "Bearer efs_x"}, keyed(wrong), keyed(route.scope))
    ]

    assert ["credentials_missing", "credentials_invalid", "scope_missing"] == [code_of(each) for each in answers[:3]]
    assert [401, 401, 403] == [answer.status_code for answer in answers[:3]]
    assert answers[3].status_code not in (401, 403)


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if not route.scope and "{" not in route.path], ids=lambda route: route.path
)
def test_an_open_route_takes_none(guarded: TestClient, route: Route) -> None:
    """Checks on the service, and its documents, work without a key."""
    assert 200 == guarded.get(route.path).status_code


def test_a_refusal_says_what_to_send(guarded: TestClient, keyed: Keyed) -> None:
    """In the header that RFC 6750 names."""
    headers: tuple[dict[str, str], ...] = ({}, {"Authorization": "Bearer efs_x"}, keyed("read"))
    asked = [guarded.post("/v1/segment", headers=each).headers["WWW-Authenticate"] for each in headers]

    assert [
        'Bearer realm="efsnet"',
        'Bearer realm="efsnet", error="invalid_token"',
        'Bearer realm="efsnet", error="insufficient_scope"',
    ] == asked


def test_an_image_is_segmented_with_a_key(guarded: TestClient, keyed: Keyed, image: bytes) -> None:
    """As without one where none is needed."""
    answer = guarded.post("/v1/segment", content=image, headers=PNG | keyed("infer"))

    assert (200, "1") == (answer.status_code, answer.headers["X-Model-Version"])


def test_the_log_knows_who_and_not_the_key(
    guarded: TestClient, keyed: Keyed, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines name the key by its id, refused ones too name nothing that was sent."""
    caplog.set_level(logging.DEBUG)
    headers = keyed("read")
    guarded.get("/v1/models", headers=headers)
    guarded.get("/v1/models", headers={"Authorization": "Bearer efs_wrong-and-secret"})

    assert f"key={ring.keys[-1].id}" in caplog.text
    assert headers["Authorization"].split()[1] not in caplog.text
    assert "wrong-and-secret" not in caplog.text


def test_a_refused_request_is_counted_under_its_route(guarded: TestClient) -> None:
    """So that somebody who tries keys is seen."""
    guarded.post("/v1/segment")
    metrics = guarded.get("/metrics").text

    assert 'efs_rejected_total{reason="credentials_missing"} 1.0' in metrics
    assert 'route="/v1/segment",status="401"' in metrics


@pytest.mark.requirement("ACC-4")
def test_a_body_is_not_read_for_nobody(guarded: TestClient) -> None:
    """Who may not call is told so before a byte of the upload is taken."""
    sent: list[str] = []
    statuses: list[int] = []

    async def receive() -> Message:
        sent.append("read")
        return {"type": "http.request", "body": b"", "more_body": True}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/segment",
        "root_path": "",
        "query_string": b"",
        "headers": [],
    }
    assert guarded.portal is not None
    guarded.portal.call(partial(app_of(guarded), scope, receive, send))

    assert ([401], []) == (statuses, sent)


@pytest.mark.parametrize(("path", "status"), [("/v1/segment", 404), ("/v1/stream", 401)])
def test_a_websocket_is_refused(guarded: TestClient, path: str, status: int) -> None:
    """There is one, which takes a key, and no other will be there by accident."""
    with pytest.raises(WebSocketDenialResponse) as refused, guarded.websocket_connect(path):
        pass

    assert status == refused.value.status_code


def test_damaged_keys_let_nobody_in(guarded: TestClient, keyed: Keyed, ring: KeyRing) -> None:
    """The service says so, and goes on checking on itself."""
    headers = keyed("read")
    ring.path.write_text("{")
    answer = guarded.get("/v1/models", headers=headers)

    assert (503, "keys_unusable") == (answer.status_code, answer.json()["code"])
    assert 200 == guarded.get("/readyz").status_code


def test_the_documents_ask_for_the_key(client: TestClient) -> None:
    """Swagger shows its button, and which calls take a key."""
    document = client.get("/openapi.json").json()

    assert ("http", "bearer") == tuple(document["components"]["securitySchemes"]["key"][f] for f in ("type", "scheme"))
    assert [{"key": []}] == document["paths"]["/v1/segment"]["post"]["security"]
    assert {"401", "403"} <= document["paths"]["/v1/segment"]["post"]["responses"].keys()
    assert "security" not in document["paths"]["/readyz"]["get"]


def test_a_path_below_a_root_path_takes_the_same_key(start: Start, keyed: Keyed) -> None:
    """Whether or not the proxy took the root path off."""
    headers = keyed("read")
    client = start(root_path="/efsnet")

    for path in ("/v1/models", "/efsnet/v1/models"):
        assert (401, 200) == (client.get(path).status_code, client.get(path, headers=headers).status_code)


def test_the_documented_table_of_routes_is_the_one_that_holds(repository: Path) -> None:
    """Method, path and scope of each."""
    text = (repository / "docs" / "keys.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z, ]+) \| `([^`]+)` \| (\w+) \|$", text, re.MULTILINE)

    assert [(route.methods.replace(" ", ", "), route.path, route.scope or "everybody") for route in ROUTES] == rows
