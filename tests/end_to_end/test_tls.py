"""TLS without a proxy, with real certificates and a real process."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from model_store.store import ModelStore
from tests.certificates import Certificate, certificate
from tests.service.processes import started

pytestmark = pytest.mark.system


@pytest.fixture
def authority(tmp_path: Path) -> Certificate:
    """The hospital's."""
    return certificate(tmp_path, "authority")


@pytest.fixture
def context(authority: Certificate) -> Callable[[Certificate | None], ssl.SSLContext]:
    """What a client trusts, and shows."""

    def made(own: Certificate | None) -> ssl.SSLContext:
        trust = ssl.create_default_context(cafile=str(authority.files[0]))
        if own:
            trust.load_cert_chain(*map(str, own.files))
        return trust

    return made


@pytest.mark.requirement("ACC-5")
def test_who_shows_no_certificate_gets_no_answer(
    authority: Certificate,
    context: Callable[[Certificate | None], ssl.SSLContext],
    published_store: ModelStore,
    tmp_path: Path,
) -> None:
    """Nor does who shows another authority's; who shows ours is served."""
    own = certificate(tmp_path, "localhost", authority)
    settings: dict[str, Any] = {
        "store": str(published_store.root),
        "tls_certificate": str(own.files[0]),
        "tls_key": str(own.files[1]),
        "tls_client_ca": str(authority.files[0]),
    }
    workstation = certificate(tmp_path, "workstation", authority)
    stranger = certificate(tmp_path, "stranger")
    with started(tmp_path / "log", **settings) as service:
        port = service.address.rpartition(":")[2].strip("/")
        url = f"https://localhost:{port}/livez"
        assert httpx2.get(url, verify=context(workstation)).is_success
        for shown in (None, stranger):
            with pytest.raises(httpx2.TransportError):
                httpx2.get(url, verify=context(shown))
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"http://localhost:{port}/livez")


@pytest.mark.parametrize("wrong", ["missing", "mixed up", "no certificate"])
def test_files_that_cannot_be_used_are_told_in_a_line(
    authority: Certificate, published_store: ModelStore, tmp_path: Path, wrong: str
) -> None:
    """At the start, and nothing is served."""
    own = certificate(tmp_path, "localhost", authority)
    files = {
        "missing": (tmp_path / "missing.pem", own.files[1]),
        "mixed up": (own.files[0], authority.files[1]),
        "no certificate": (Path(__file__), own.files[1]),
    }[wrong]
    log = tmp_path / "log"
    settings: dict[str, Any] = {
        "store": str(published_store.root),
        "tls_certificate": str(files[0]),
        "tls_key": str(files[1]),
    }
    with started(log, **settings) as service:
        assert service.process.wait(timeout=60) == 2

    said = log.read_text(encoding="utf-8").strip().splitlines()
    assert len(said) == 1
    assert "TLS" in said[0]
