"""The door with TLS of the proxy of docker-compose.yml: its configuration in a real nginx, before a real service."""

import json
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

from model_store.store import ModelStore
from tests.certificates import Certificate, certificate
from tests.end_to_end.processes import free_port, serve
from tests.end_to_end.proxy import FOLDER, running_proxy

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs."""

    port: int
    authority: Certificate
    service: str
    """Address of the service behind it."""

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def trust(self, client: Certificate | None = None) -> ssl.SSLContext:
        """Of a client that trusts the hospital's authority, with a certificate of its own or not."""
        context = ssl.create_default_context(cafile=str(self.authority.files[0]))
        if client:
            context.load_cert_chain(*map(str, client.files))
        return context


@pytest.fixture(params=[False, True], ids=["tls", "mutual-tls"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path, published_store: ModelStore) -> Iterator[Proxy]:
    """The door with TLS, before one service."""
    authority = certificate(tmp_path, "authority")
    own = certificate(tmp_path, "localhost", authority)
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "tls_client_ca.pem").write_bytes(authority.files[0].read_bytes())
    if request.param:
        text = (FOLDER / "mutual-tls.conf").read_text(encoding="utf-8")
        (extra / "mutual-tls.conf").write_text(text.replace("/etc/nginx/extra", str(extra)), encoding="utf-8")
    command = [sys.executable, "-m", "service", "serve"]
    with serve(
        command,
        published_store.root,
        EFSNET_PROVIDER="cpu",
        EFSNET_TRUSTED_PROXIES="127.0.0.1",
        EFSNET_AUDIT_FILE=str(tmp_path / "audit.jsonl"),
    ) as service:
        port = free_port()
        places = {
            "http://service:8000": service,
            "listen 8443": f"listen 127.0.0.1:{port}",
            "/run/secrets/tls_certificate": str(own.files[0]),
            "/run/secrets/tls_key": str(own.files[1]),
            "/etc/nginx/extra": str(extra),
        }
        with running_proxy(tmp_path, "tls.conf", places):
            yield Proxy(port, authority, service)


@pytest.fixture
def client(proxy: Proxy, tmp_path: Path) -> Iterator[httpx2.Client]:
    """A client that the proxy lets in, whichever it asks for."""
    own = certificate(tmp_path, "workstation", proxy.authority)
    with httpx2.Client(base_url=proxy.url, verify=proxy.trust(own), timeout=60) as found:
        yield found


@pytest.fixture
def image(busi: Path) -> bytes:
    """A real ultrasound."""
    return (busi / "benign" / "benign (51).png").read_bytes()


def test_the_product_works_behind_the_proxy(proxy: Proxy, client: httpx2.Client, image: bytes, tmp_path: Path) -> None:
    """Masks, the page and a live stream, over TLS; the audit trail has who asked, whatever that client claimed."""
    headers = {"Content-Type": "image/png", "X-Forwarded-For": "6.6.6.6"}
    answer = client.post("/v1/segment", content=image, headers=headers)
    direct = httpx2.post(f"{proxy.service}/v1/segment", content=image, headers={"Content-Type": "image/png"})

    assert direct.json()["classes"] == answer.json()["classes"]
    assert answer.headers["strict-transport-security"]
    assert client.get("/").is_success
    own = tmp_path / "workstation.pem"
    context = proxy.trust(Certificate(proxy.authority.certificate, proxy.authority.key, (own, own.with_suffix(".key"))))
    with connect(f"wss://localhost:{proxy.port}/v1/stream", ssl=context) as stream:
        assert json.loads(stream.recv())["type"] == "ready"
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert {"127.0.0.1"} == {line["address"] for line in lines if "address" in line}


def test_metrics_are_not_there(client: httpx2.Client) -> None:
    """They are for Prometheus, on its own network."""
    answer = client.get("/metrics")

    assert (404, "not_found") == (answer.status_code, answer.json()["code"])
    assert answer.headers["content-type"] == "application/problem+json"


def test_limits_are_the_services_own(client: httpx2.Client) -> None:
    """A body that is too large is refused in its words."""
    answer = client.post("/v1/segment", content=bytes(11_000_000), headers={"Content-Type": "image/png"})

    assert (413, "body_too_large") == (answer.status_code, answer.json()["code"])


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.requirement("ACC-5")
def test_old_protocols_are_refused(proxy: Proxy) -> None:
    """Nothing below TLS 1.2, and nothing in the clear."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", proxy.port)) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain)

    assert httpx2.get(f"http://localhost:{proxy.port}/").status_code == 400


@pytest.mark.requirement("ACC-5")
def test_who_shows_no_certificate_is_let_in_only_where_none_is_asked_for(
    proxy: Proxy, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """With mutual TLS, neither nobody's nor another authority's certificate opens the door."""
    mutual = "mutual" in request.node.name
    stranger = certificate(tmp_path, "stranger")
    for known in (None, stranger):
        with httpx2.Client(base_url=proxy.url, verify=proxy.trust(known), timeout=30) as outside:
            try:
                status = outside.get("/livez").status_code
            except httpx2.TransportError:
                status = 0
        assert (status in (0, 400)) if mutual else (status == 200)
