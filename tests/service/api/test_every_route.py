"""Every route with every scope and every kind of credential, and how often wrong ones are looked at."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service import state
from service.api.access import ROUTES, Route
from service.keys import SCOPES, KeyRing, Scope, read_keys
from tests.service.conftest import PNG, Start, code_of
from tests.service.issuer import Issuer, serving

GUARDED = [(route, method) for route in ROUTES if route.scope for method in route.methods.split()]


@dataclass(frozen=True)
class Credentials:
    """What may be in the header `Authorization`: good ones by their scope, and worthless ones by what they lack."""

    good: Mapping[tuple[str, Scope], str]
    worthless: Mapping[str, str]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Of tokens."""
    with serving() as found:
        yield found


def expired(ring: KeyRing) -> str:
    """A key that was valid once."""
    text, made = ring.create("former", ["admin"], 2)
    content = ring.path.read_text(encoding="utf-8").replace(
        f"{made.expires_at:%Y-%m-%dT%H:%M:%S}", "2020-01-01T00:00:00"
    )
    with state.writing(ring.path):
        state.replace(ring.path, content.encode())
    assert any(key.expires_at.year == 2020 for key in read_keys(ring.path))
    return text


@pytest.fixture
def credentials(issuer: Issuer, tmp_path: Path) -> Credentials:
    """Keys of the ring and tokens of the issuer."""
    ring = KeyRing(tmp_path / "state" / "keys.json")
    good: dict[tuple[str, Scope], str] = {}
    for scope in SCOPES:
        good["key", scope] = f"Bearer {ring.create(scope, [scope], 1)[0]}"
        good["token", scope] = f"Bearer {issuer.token(scope=f'efsnet:{scope}')}"
    text, revoked = ring.create("gone", ["admin"], 1)
    ring.revoke(revoked.id)
    now = int(time.time())
    worthless = {
        "wrong key": "Bearer efs_wrong",
        "revoked key": f"Bearer {text}",
        "expired key": f"Bearer {expired(ring)}",
        "expired token": f"Bearer {issuer.token(scope='efsnet:admin', exp=now - 60)}",
        "token replayed from another service": f"Bearer {issuer.token(scope='efsnet:admin', aud='pacs')}",
        "token of another issuer": f"Bearer {issuer.token(scope='efsnet:admin', iss='https://elsewhere')}",
        "changed token": f"Bearer {issuer.token(scope='efsnet:admin')[:-4]}AAAA",
        "token without signature": f"Bearer {issuer.token(scope='efsnet:admin').rpartition('.')[0]}.",
    }
    return Credentials(good, worthless)


@pytest.fixture
def client(start: Start, issuer: Issuer, credentials: Credentials, tmp_path: Path) -> TestClient:
    """A client of a service that takes both, and looks at any number of wrong ones."""
    return start(state=tmp_path / "state", oidc={"issuer": issuer.url}, wrong_keys_per_minute=0)


def status(client: TestClient, route: Route, method: str, header: str | None) -> tuple[int, str]:
    """Of a request without a body, and the code of its problem."""
    path = route.path.replace("{", "").replace("}", "")
    answer = client.request(method, path, headers={} if header is None else {"Authorization": header})
    return answer.status_code, code_of(answer)


@pytest.mark.requirement("ACC-3")
def test_every_route_takes_its_scope_and_nothing_else(client: TestClient, credentials: Credentials) -> None:
    """Each good credential opens the routes of its scope; an admin's opens all; no other opens any."""
    assert len(GUARDED) > 15
    for route, method in GUARDED:
        for (kind, scope), header in credentials.good.items():
            code, problem = status(client, route, method, header)
            allowed = scope in (route.scope, "admin")
            assert (code == 403 and problem == "scope_missing") != allowed, (method, route.path, kind, scope, code)
            assert code != 401


def test_what_is_worthless_opens_no_route(client: TestClient, credentials: Credentials) -> None:
    """Nothing, the wrong, the revoked, the expired, the replayed and the changed: 401, and no more is told."""
    for route, method in GUARDED:
        assert (401, "credentials_missing") == status(client, route, method, None)
        assert (401, "credentials_missing") == status(client, route, method, "Basic dXNlcjpwYXNz")
        for what, header in credentials.worthless.items():
            assert (401, "credentials_invalid") == status(client, route, method, header), (method, route.path, what)


@pytest.mark.requirement("ACC-7")
def test_wrong_keys_are_looked_at_so_often_and_no_more(start: Start, tmp_path: Path, image: bytes) -> None:
    """Then they are refused with 429 and a time, and whoever has a key is let in all the same."""
    key, _ = KeyRing(tmp_path / "state" / "keys.json").create("ward", ["infer"], 1)
    client = start(state=tmp_path / "state", wrong_keys_per_minute=5)
    answers = [client.post("/v1/segment", headers={"Authorization": "Bearer efs_wrong"}) for _ in range(8)]

    assert [401] * 5 + [429] * 3 == [answer.status_code for answer in answers]
    assert answers[-1].json()["code"] == "rate_limited"
    assert int(answers[-1].headers["retry-after"]) > 0
    headers = PNG | {"Authorization": f"Bearer {key}"}
    assert client.post("/v1/segment", content=image, headers=headers).is_success
    assert 'efs_rejected_total{reason="rate_limited"} 3.0' in client.get("/metrics").text


def test_a_key_may_make_so_many_requests_and_no_more(start: Start, tmp_path: Path) -> None:
    """Where the operator sets a limit; other keys go on."""
    ring = KeyRing(tmp_path / "state" / "keys.json")
    first, second = (f"Bearer {ring.create(name, ['read'], 1)[0]}" for name in ("one", "two"))
    client = start(state=tmp_path / "state", requests_per_minute=3)
    answers = [client.get("/v1/models", headers={"Authorization": first}) for _ in range(5)]

    assert [200] * 3 + [429] * 2 == [answer.status_code for answer in answers]
    assert client.get("/v1/models", headers={"Authorization": second}).is_success
    assert client.get("/readyz").is_success


@pytest.fixture
def opened(start: Start, issuer: Issuer, tmp_path: Path) -> Callable[[], TestClient]:
    """Starts a service that takes tokens."""
    return lambda: start(state=tmp_path / "state", oidc={"issuer": issuer.url})


def test_a_token_opens_a_stream_and_its_end_ends_it(opened: Callable[[], TestClient], issuer: Issuer) -> None:
    """By header, or by a ticket that was asked for with it."""
    client = opened()
    header = {"Authorization": f"Bearer {issuer.token()}"}
    with client.websocket_connect("/v1/stream", headers=header) as stream:
        assert stream.receive_json()["type"] == "ready"
    ticket = client.post("/v1/stream/ticket", headers=header).json()["ticket"]
    with client.websocket_connect(f"/v1/stream?ticket={ticket}") as stream:
        assert stream.receive_json()["type"] == "ready"


def test_an_issuer_that_is_away_is_told_as_such(opened: Callable[[], TestClient], issuer: Issuer) -> None:
    """503, not 401: the token may be good."""
    issuer.away = True
    try:
        answer = opened().get("/v1/models", headers={"Authorization": f"Bearer {issuer.token()}"})
    finally:
        issuer.away = False

    assert (503, "issuer_unavailable") == (answer.status_code, answer.json()["code"])
