"""The client of `oras`, which transports and authenticates, within limits and with errors of ours.

`oras` brings much along: commands import this module when they need it, and the service never does.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import oras.auth
import oras.container
import oras.provider
import requests
from requests.adapters import HTTPAdapter

from model_store.copies.repository import Access, Repository
from model_store.errors import ModelStoreError, RegistryUnusable

CONNECT_S, ANSWER_S = 10.0, 60.0
"""How long a registry may take to accept a connection, and to go on with an answer."""

_CHUNK_BYTES = 1 << 16

# What a registry says of a request could have anything in it: our errors say what there is to say.
logging.getLogger("oras.logger").setLevel(logging.CRITICAL + 1)


class Client(oras.provider.Registry):  # type: ignore[misc]  # oras has no annotations that mypy may use
    """A connection to a registry. Where that one of `oras` asks again for two minutes, this one says what is wrong."""

    def __init__(self, repository: Repository, access: Access) -> None:
        plain = access.plain_http or (repository.is_on_this_machine and access.authority is None)
        verify = str(access.authority) if access.authority else True
        super().__init__(repository.host, insecure=plain, tls_verify=verify)
        self.session.mount(f"{self.prefix}://", _Patient())
        if not plain:  # a redirect must not lead out of TLS
            del self.session.adapters["http://"]
        self.repository = repository
        self.container = container(repository, self.prefix)

    def authenticate(self, access: Access) -> None:
        """Finds out which kind of credentials the registry wants, and takes what there is.

        Raises:
            RegistryUnusable: It cannot be reached, or there are none.
        """
        with self.session.get(f"{self.prefix}://{self.container.registry}/v2/", verify=self._tls_verify) as response:
            wants_basic = response.headers.get("WWW-Authenticate", "").lower().startswith("basic")
        kind = "basic" if wants_basic else "token"
        self.auth = oras.auth.get_auth_backend(kind, self.session, self.prefix == "http", tls_verify=self._tls_verify)
        if access.user and access.password:
            self.auth.set_basic_auth(access.user, access.password)
        else:
            own = Path(os.environ.get("DOCKER_CONFIG", "~/.docker"), "config.json").expanduser()
            self.auth.load_configs(self.container, [str(own)] if own.exists() else [])
        if wants_basic and not hasattr(self.auth, "_basic_auth"):
            raise _denied(self.repository)

    def do_request(self, url: str, method: str = "GET", **options: Any) -> requests.Response:
        """One request, and a second one where the registry asks for credentials, or for others.

        Raises:
            RegistryUnusable: The answer is neither what was asked for nor that there is no such thing.
        """
        headers = {"Accept-Encoding": "identity", **(options.pop("headers", None) or {}), **self._credentials()}
        response = self._asked(url, method, headers, options)
        if response.status_code == requests.codes.unauthorized:
            response.close()
            headers, _ = self.auth.authenticate_request(response, headers, refresh=True)
            response = self._asked(url, method, headers, options)
        if response.ok or (method in {"GET", "HEAD"} and response.status_code == requests.codes.not_found):
            return response
        response.close()
        if response.status_code in {requests.codes.unauthorized, requests.codes.forbidden}:
            raise _denied(self.repository)
        raise RegistryUnusable(f"{self.repository}: the registry answers {response.status_code}; look at its log.")

    def _credentials(self) -> Mapping[str, str]:
        """Those that the registry has asked for already."""
        ready = getattr(self.auth, "_basic_auth" if isinstance(self.auth, oras.auth.BasicAuth) else "token", None)
        return self.auth.get_auth_header() if ready else {}

    def _asked(
        self, url: str, method: str, headers: Mapping[str, str], options: Mapping[str, Any]
    ) -> requests.Response:
        session: requests.Session = self.session
        return session.request(method, url, headers=headers, verify=self._tls_verify, **options)


def container(repository: Repository, scheme: str) -> oras.container.Container:
    """The repository as `oras` has it: without a dot or a port it would take the host for a part of the path."""
    host = repository.host
    if not {".", ":"} & set(host):
        host = f"{host}:{80 if scheme == 'http' else 443}"
    return oras.container.Container(f"{host}/{repository.path}")


def received(response: requests.Response, at_most: int) -> bytes | None:
    """What a registry sends, or None once it is more than so many bytes."""
    content = bytearray()
    with response:
        for chunk in response.iter_content(_CHUNK_BYTES):
            content += chunk
            if len(content) > at_most:
                return None
    return bytes(content)


@contextmanager
def translated(repository: Repository) -> Iterator[None]:
    """What happens on the way, as an error of ours. Nothing of a request or an answer is in it."""
    try:
        yield
    except ModelStoreError:
        raise
    except requests.exceptions.SSLError as error:
        raise RegistryUnusable(
            f"{repository} has no TLS with a certificate that is trusted here: see --ca and --plain-http."
        ) from error
    except requests.exceptions.InvalidSchema as error:
        raise RegistryUnusable(f"{repository} leads to an address without TLS: see --plain-http.") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RegistryUnusable(f"{repository} does not answer as a registry does.") from error
    except OSError as error:  # those of requests too
        raise RegistryUnusable(f"{repository} cannot be reached, or broke off: start it, and try again.") from error


class _Patient(HTTPAdapter):
    """Waits for an answer, but not for ever: `oras` sets no limit."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        return super().send(request, *args, **{**options, "timeout": (CONNECT_S, ANSWER_S)})


def _denied(repository: Repository) -> RegistryUnusable:
    return RegistryUnusable(f"{repository} denies access: set ORAS_USER and ORAS_PASS, or log in with docker.")
