"""The application behind a port, from the line that says where it is to an orderly stop."""

import asyncio
import contextlib
import math
import socket
import ssl

import typer
import uvicorn
from fastapi import FastAPI

from service.connections import StreamProtocol, bounded
from service.errors import ModelNotReady, SettingsInvalid
from service.keys import KeyRing
from service.settings import Settings
from service.tls_settings import TlsSettings

TICK_S = 0.1

PING_S = 10.0
"""Between two questions whether a stream's client is still there, and the time it has to answer."""


def require_keys(settings: Settings, keys: KeyRing, *, contained: bool) -> None:
    """Refuses to serve a network without keys, unless the operator has said that it shall be so.

    Args:
        settings: Where it listens, and what the operator has said.
        keys: That there are, or not.
        contained: Whether this runs in a container, whose port is published by another.

    Raises:
        SettingsInvalid: Others than this machine could reach the service, and nobody would need a key.
        StateUnusable: It cannot be found out whether there are keys.
    """
    address = settings.reached_at(contained=contained)
    if address and settings.open_to_network == "no" and not (keys.asked_for or settings.oidc.issuer):
        raise SettingsInvalid(
            f"At {address} others than this machine could use the service, and there are no API "
            "keys: make one with `python -m service keys create`, or set EFSNET_OPEN_TO_NETWORK=without-keys."
        )


def check_tls(settings: TlsSettings) -> None:
    """Refuses certificates and keys that cannot be used, before anything is started.

    Raises:
        SettingsInvalid: With the file, and what is wrong with it.
    """
    if settings.certificate is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca:
            context.load_verify_locations(settings.client_ca)
    except ssl.SSLError as error:
        raise SettingsInvalid(
            "EFSNET_TLS_CERTIFICATE, EFSNET_TLS_KEY and EFSNET_TLS_CLIENT_CA are PEM files, the key that of the "
            f"certificate and without a password: {error.reason or 'they cannot be read'}."
        ) from error
    except OSError as error:
        raise SettingsInvalid(f"A file of EFSNET_TLS_… cannot be read: {error.strerror}.") from error


class Server(uvicorn.Server):
    """uvicorn, which says when the service can be used, and becomes not ready before it closes its port."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        """Makes it ready to run.

        Raises:
            SettingsInvalid: A file of TLS cannot be used.
        """
        check_tls(settings.tls)
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                access_log=False,
                log_config=None,
                server_header=False,
                ssl_certfile=settings.tls.certificate,
                ssl_keyfile=settings.tls.key,
                ssl_ca_certs=settings.tls.client_ca and str(settings.tls.client_ca),
                ssl_cert_reqs=ssl.CERT_REQUIRED if settings.tls.client_ca else ssl.CERT_NONE,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=settings.trusted_proxies,
                http=bounded(settings.connections),
                ws=StreamProtocol,
                ws_max_size=settings.stream.max_bytes,
                ws_ping_interval=PING_S,
                ws_ping_timeout=PING_S,
                ws_per_message_deflate=False,  # pictures and masks are compressed already
                timeout_graceful_shutdown=math.ceil(settings.deadline_s),
            )
        )
        self._state = app.state
        self._settings = settings

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until it is told to stop."""
        # uvicorn raises Ctrl+C once more when all is done.
        with contextlib.suppress(KeyboardInterrupt):
            super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the port."""
        await super().startup(sockets)
        self._announcing = asyncio.create_task(self._announce())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finishes what runs, at most for the deadline of an answer."""
        self._state.stopping = True
        waited_s = 0.0
        while waited_s < self._settings.drain_s and not self.force_exit:
            await asyncio.sleep(TICK_S)
            waited_s += TICK_S
        await super().shutdown(sockets)

    async def _announce(self) -> None:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        host = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
        address = f"{'https' if self._settings.tls.certificate else 'http'}://{host}:{port}"
        await self._state.loading
        try:
            version = self._state.versions.default.version
        except ModelNotReady as error:
            typer.echo(f"Not ready, as {address}/readyz tells: {error}")
        else:
            typer.echo(f"{version} is ready: try it at {address}/docs, or POST an image to {address}/v1/segment")
