"""Registries for the tests: Debian's, as a process of its own, and a small one that lies on demand."""

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from model_store.digest import Digest

PROGRAM = shutil.which("docker-registry")


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class DebianRegistry:
    """The `docker-registry` of Debian, keeping its blobs in a folder."""

    folder: Path
    extra: str = ""
    """More of its configuration, YAML."""
    http: str = ""
    """More of its part `http`, YAML."""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Of the repository that the tests use."""
        return f"127.0.0.1:{self.port}/models/efsnet"

    def start(self) -> None:
        """Returns when it accepts connections."""
        configuration = self.folder / "config.yml"
        configuration.parent.mkdir(parents=True, exist_ok=True)
        configuration.write_text(
            f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.folder / 'data'}}}}}\n"
            f"http:\n  addr: 127.0.0.1:{self.port}\n{self.http}{self.extra}"
        )
        assert PROGRAM
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([PROGRAM, "serve", str(configuration)], stdout=log, stderr=log)
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        """At once, by its process id."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def blob(self, digest: Digest) -> Path:
        """Where a blob lies on its disk."""
        return self.folder / f"data/docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"


@dataclass
class Contents:
    """What the small registry holds, and how it behaves."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    """By tag."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and credentials of each."""
    bearer: bool = False
    """Whether it wants a token of its own making, for reading or for reading and writing."""
    basic: bool = False
    """Whether it wants the user `dr.who` with the password `tardis`."""
    broken_off_after: int | None = None
    """After so many requests it breaks off all."""
    status: int | None = None
    """What it answers to everything."""
    writing_status: int | None = None
    """What it answers to who would write."""
    blobs_at: str | None = None
    """Address of another registry, to which it sends who wants a blob."""


@contextmanager
def small_registry(contents: Contents, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Serves these contents on the loopback address for as long as the context lasts; gives the repository.

    Args:
        contents: May be changed meanwhile.
        tls: A certificate and its key.
    """

    class Handler(_Handler):
        held = contents

    server = _QuietServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}/models/efsnet"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _QuietServer(ThreadingHTTPServer):
    """Clients may break off."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing on the terminal."""


class _Handler(BaseHTTPRequestHandler):
    """As much of the distribution specification as a push and a pull need."""

    held: Contents
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base's name)
        """Nothing on the terminal."""

    def handle_one_request(self) -> None:
        limit = self.held.broken_off_after
        if limit is not None and len(self.held.requests) >= limit:
            self.close_connection = True
            return
        super().handle_one_request()

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            return self._token()
        if not self._may():
            return None
        path = urlsplit(self.path).path
        if found := re.fullmatch(r"/v2/models/efsnet/manifests/(.+)", path):
            return self._send(self.held.manifests.get(found[1]))
        if found := re.fullmatch(r"/v2/models/efsnet/blobs/(.+)", path):
            if self.held.blobs_at:
                return self._send(b"", 307, Location=f"{self.held.blobs_at}{path}")
            return self._send(self.held.blobs.get(found[1]))
        return self._send(b"{}")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if self._may(writing=True):
            self._send(b"", 202, Location="/v2/models/efsnet/blobs/uploads/1")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._may(writing=True):
            return
        url = urlsplit(self.path)
        if digest := parse_qs(url.query).get("digest"):
            self.held.blobs[digest[0]] = body
            self._send(b"", 201 if str(Digest.of(body)) == digest[0] else 400)
        else:
            self.held.manifests[url.path.rpartition("/")[2]] = body
            self._send(b"", 201)

    def _may(self, *, writing: bool = False) -> bool:
        credentials = self.headers.get("Authorization", "")
        self.held.requests.append((self.command, self.path, credentials))
        host = self.headers["Host"]
        if status := self.held.status or (writing and self.held.writing_status):
            self._send(b"a secret that the registry tells", status)
            return False
        if self.held.basic and credentials != "Basic ZHIud2hvOnRhcmRpcw==":
            self._send(b"", 401, **{"WWW-Authenticate": 'Basic realm="tests"'})
            return False
        scope = "pull,push" if writing else "pull"
        if self.held.bearer and not credentials.startswith(f"Bearer {scope}"):
            challenge = f'Bearer realm="http://{host}/token",service="tests",scope="{scope}"'
            self._send(b"", 401, **{"WWW-Authenticate": challenge})
            return False
        return True

    def _token(self) -> None:
        if self.headers.get("Authorization") != "Basic ZHIud2hvOnRhcmRpcw==":
            return self._send(b"", 401)
        scope = parse_qs(urlsplit(self.path).query)["scope"][0]
        return self._send(json.dumps({"token": scope}).encode())

    def _send(self, body: bytes | None, status: int = 200, **headers: str) -> None:
        self.send_response(status if body is not None else 404)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body or b"")


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 for a day, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "registry.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "registry.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "registry.crt", folder / "registry.key"
