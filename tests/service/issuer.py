"""An issuer of tokens on this machine: OpenID Connect's discovery and keys over HTTP, and tokens that it signs."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Issuer:
    """Signs tokens, and tells its public keys."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.away = False
        self.claimed_url: str | None = None
        self.keys: dict[str, PrivateKey] = {}
        self.add_key("first")
        self._first = self.keys["first"]

    def begin_anew(self) -> None:
        """As it was at first, so that no key need be made again."""
        self.keys = {"first": self._first}
        self.away, self.claimed_url = False, None
        self.asked.clear()

    def add_key(self, name: str, *, elliptic: bool = False) -> None:
        """A further key, with which it can sign."""
        self.keys[name] = (
            ec.generate_private_key(ec.SECP256R1())
            if elliptic
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    def public_pem(self, name: str) -> bytes:
        """A public key as anybody can have it."""
        return (
            self.keys[name]
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def token(self, key: str = "first", **claims: Any) -> str:
        """A token for the tests, with these claims in place of the usual; None leaves one out."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": "efsnet",
            "sub": "dr.garcia",
            "iat": now,
            "exp": now + 300,
            "scope": "openid efsnet:infer",
        }
        content = {name: value for name, value in (usual | claims).items() if value is not None}
        private = self.keys[key]
        algorithm = "RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(content, private, algorithm=algorithm, headers={"kid": key})

    def answer(self, path: str) -> dict[str, Any] | None:
        """The document at a path."""
        self.asked.append(path)
        if self.away:
            return None
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.claimed_url or self.url, "jwks_uri": f"{self.url}/keys"}
        if path == "/keys":
            return {"keys": [self._public(name) for name in self.keys]}
        return None

    def _public(self, name: str) -> dict[str, Any]:
        key = self.keys[name].public_key()
        algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPublicKey) else ECAlgorithm
        return {**json.loads(algorithm.to_jwk(key)), "kid": name, "use": "sig"}  # type: ignore[arg-type]


@contextmanager
def serving() -> Iterator[Issuer]:
    """An issuer that answers on the loopback address."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = issuer.answer(self.path)
            self.send_response(200 if document else 503)
            self.end_headers()
            self.wfile.write(json.dumps(document or {}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield issuer
        server.shutdown()
        thread.join()
