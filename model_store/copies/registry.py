"""Versions in an OCI registry, through `oras`, which transports and authenticates but does not check what it gets.

`oras` brings much along: commands import this module when they need it, and the service never does.
"""

import ipaddress
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import oras.auth
import oras.container
import oras.provider
import requests
from requests.adapters import HTTPAdapter

from model_store.copies.artifact import ARTIFACT_MAX_BYTES, MEDIA_TYPE, Artifact, Blob
from model_store.digest import Digest
from model_store.errors import (
    AlreadySigned,
    CopyInvalid,
    DigestMismatch,
    ModelStoreError,
    RegistryUnusable,
    VersionTaken,
    VersionUnknown,
)
from model_store.manifest import MANIFEST, Manifest
from model_store.version import Version

CONNECT_S, ANSWER_S = 10.0, 60.0
"""How long a registry may take to accept a connection, and to go on with an answer."""

_REPOSITORY = re.compile(
    r"(?P<host>(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?)/"
    r"(?P<path>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
)
_CHUNK_BYTES = 1 << 16

# What a registry says of a request could have anything in it: our errors say what there is to say.
logging.getLogger("oras.logger").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Repository:
    """Where the versions of one model are: `HOST[:PORT]/PATH`."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The repository that a text names.

        Raises:
            RegistryUnusable: It names none, or more, such as a tag or a user.
        """
        if not (found := _REPOSITORY.fullmatch(text)):
            raise RegistryUnusable(
                "A repository is HOST[:PORT]/PATH in small letters, without scheme, user and tag: "
                "registry.example.org/models/efsnet."
            )
        return cls(found["host"], found["path"])

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the host is a loopback address."""
        host = re.sub(r":[0-9]+$", "", self.host).strip("[]")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


@dataclass(frozen=True, slots=True)
class Access:
    """How a registry is reached, and as whom."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    """Or a token that the registry takes in its place."""
    authority: Path | None = None
    """PEM file of the authorities that sign the registry's certificate, if the system does not know them."""
    plain_http: bool = False
    """Nothing is encrypted. On this machine it is so by itself, unless an authority is named."""

    @classmethod
    def of_environment(cls, *, authority: Path | None, plain_http: bool) -> Self:
        """As `ORAS_USER`, with `ORAS_PASS`, the names that `oras` has for them."""
        return cls(os.environ.get("ORAS_USER"), os.environ.get("ORAS_PASS"), authority, plain_http)


@contextmanager
def connected(repository: Repository, access: Access) -> Iterator["Registry"]:
    """The registry, ready for requests.

    Raises:
        RegistryUnusable: It cannot be reached, its certificate is not trusted, or it wants somebody known.
    """
    plain = access.plain_http or (repository.is_on_this_machine and access.authority is None)
    client = _Client(repository.host, insecure=plain, tls_verify=str(access.authority) if access.authority else True)
    with client.session:
        client.session.mount(f"{client.prefix}://", _Patient())
        if not plain:  # a redirect must not lead out of TLS
            del client.session.adapters["http://"]
        with _translated(repository):
            container = _container(repository, client.prefix)
            client.authenticate(container, access)
        yield Registry(repository, client, container)


@dataclass(frozen=True, slots=True)
class Registry:
    """A repository that answers; tags are the numbers of versions."""

    repository: Repository
    client: "_Client"
    container: oras.container.Container

    def push(self, version: Version) -> bool:
        """Whether the version was not in the registry before, whole; it is now.

        The tag is written last: who pulls never sees a part. Two who push the same number at the same moment are not
        kept apart by a registry; whoever pulls sees one or the other.

        Raises:
            IntegrityError: The version is damaged.
            VersionTaken: The registry has another version of this number.
            AlreadySigned: It has this one with another signature.
            CopyInvalid: The version is too large for a copy.
            RegistryUnusable: The registry cannot be reached, or refuses.
        """
        contents = version.contents()
        artifact = Artifact.of(contents)
        if (there := self._artifact(version.number)) and self._is_same(version, artifact, there):
            return False
        for path, blob in {MANIFEST: artifact.config, **artifact.listed(version.manifest)}.items():
            self._upload(version.path / path, blob)
        with _translated(self.repository):
            text = artifact.model_dump(mode="json", by_alias=True)
            self.container.tag = str(version.number)
            self._accepted(self.client.upload_manifest(text, self.container))
        return True

    def pull(self, number: int) -> Mapping[str, bytes]:
        """The files of a version by their paths, each with the digest that its manifest says.

        Raises:
            VersionUnknown: The registry has no such version.
            CopyInvalid: What it has under this number is no version, another one, or differs from its manifest.
            IntegrityError: A file or the manifest was changed.
            RegistryUnusable: The registry cannot be reached, or refuses.
        """
        artifact = self._artifact(number)
        if artifact is None:
            raise VersionUnknown(f"{self.repository} has no version {number}.")
        try:
            return self._contents(artifact, number)
        except (CopyInvalid, DigestMismatch) as error:
            raise type(error)(f"{self.repository}:{number}: {error}") from error

    def _contents(self, artifact: Artifact, number: int) -> Mapping[str, bytes]:
        text = self._download(MANIFEST, artifact.config)
        manifest = Manifest.parse(text)
        if manifest.version != number:
            raise CopyInvalid(f"There is version {manifest.version} instead.")
        layers = artifact.listed(manifest)
        return {MANIFEST: text, **{path: self._download(path, blob) for path, blob in layers.items()}}

    def _is_same(self, version: Version, own: Artifact, there: Artifact) -> bool:
        if there.config.digest != own.config.digest:
            raise VersionTaken(
                f"{self.repository}:{version.number} is taken: there it is {there.config.digest}, "
                f"here {own.config.digest}. Nothing was changed."
            )
        if own.signature and there.signature not in {None, own.signature}:
            raise AlreadySigned(f"{self.repository}:{version.number} has another signature. Nothing was changed.")
        return {**own.files, **there.files} == there.files and own.files.items() <= there.files.items()

    def _artifact(self, number: int) -> Artifact | None:
        url = f"{self.client.prefix}://{self.container.manifest_url(str(number))}"
        with _translated(self.repository):
            response = self.client.do_request(url, headers={"Accept": MEDIA_TYPE}, stream=True)
            with response:
                if response.status_code == requests.codes.not_found:
                    return None
                self._accepted(response)
                text = _limited(response, ARTIFACT_MAX_BYTES)
        if text is None:
            raise CopyInvalid(f"{self.repository}:{number} is more than the list of a version's files.")
        try:
            return Artifact.parse(text)
        except CopyInvalid as error:
            raise CopyInvalid(f"{self.repository}:{number}: {error}") from error

    def _download(self, path: str, blob: Blob) -> bytes:
        with _translated(self.repository):
            response = self.client.get_blob(self.container, str(blob.digest), stream=True)
            with response:
                self._accepted(response)
                content = _limited(response, blob.size)
        if content is None or Digest.of(content) != blob.digest:
            raise DigestMismatch(f"{path} is not what was pushed.")
        return content

    def _upload(self, path: Path, blob: Blob) -> None:
        with _translated(self.repository):
            layer = {"digest": str(blob.digest), "size": blob.size}
            self._accepted(self.client.upload_blob(str(path), self.container, layer))

    def _accepted(self, response: requests.Response) -> None:
        if response.status_code in {requests.codes.unauthorized, requests.codes.forbidden}:
            raise _denied(self.repository)
        if not response.ok:
            raise RegistryUnusable(f"{self.repository}: the registry answers {response.status_code}; look at its log.")


class _Patient(HTTPAdapter):
    """Waits for an answer, but not for ever: `oras` sets no limit."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        return super().send(request, *args, **{**options, "timeout": (CONNECT_S, ANSWER_S)})


class _Client(oras.provider.Registry):  # type: ignore[misc]  # oras has no annotations that mypy may use
    """The client of `oras`, but for how it asks again: that one takes two minutes to say that nobody is there."""

    def authenticate(self, container: oras.container.Container, access: Access) -> None:
        """Finds out which kind of credentials the registry wants, and takes what there is."""
        with self.session.get(f"{self.prefix}://{container.registry}/v2/", verify=self._tls_verify) as response:
            wants_basic = response.headers.get("WWW-Authenticate", "").lower().startswith("basic")
        kind = "basic" if wants_basic else "token"
        self.auth = oras.auth.get_auth_backend(kind, self.session, self.prefix == "http", tls_verify=self._tls_verify)
        if access.user and access.password:
            self.auth.set_basic_auth(access.user, access.password)
        else:
            own = Path(os.environ.get("DOCKER_CONFIG", "~/.docker"), "config.json").expanduser()
            self.auth.load_configs(container, [str(own)] if own.exists() else [])
        if wants_basic and not hasattr(self.auth, "_basic_auth"):
            raise _denied(container.registry)

    def do_request(self, url: str, method: str = "GET", **options: Any) -> requests.Response:
        """One request, and a second one where the registry asks for credentials, or for others."""
        headers = {"Accept-Encoding": "identity", **(options.pop("headers", None) or {}), **self._credentials()}
        response = self._asked(url, method, headers, options)
        if response.status_code != requests.codes.unauthorized:
            return response
        headers, changed = self.auth.authenticate_request(response, headers, refresh=True)
        if not changed:
            return response
        response.close()
        return self._asked(url, method, headers, options)

    def _credentials(self) -> Mapping[str, str]:
        """Those that the registry has asked for already."""
        ready = getattr(self.auth, "_basic_auth" if isinstance(self.auth, oras.auth.BasicAuth) else "token", None)
        return self.auth.get_auth_header() if ready else {}

    def _asked(
        self, url: str, method: str, headers: Mapping[str, str], options: Mapping[str, Any]
    ) -> requests.Response:
        session: requests.Session = self.session
        return session.request(method, url, headers=headers, verify=self._tls_verify, **options)


def _container(repository: Repository, scheme: str) -> oras.container.Container:
    # Without a dot or a port `oras` would take the host for the first part of the path.
    host = repository.host
    if not {".", ":"} & set(host):
        host = f"{host}:{80 if scheme == 'http' else 443}"
    return oras.container.Container(f"{host}/{repository.path}")


def _limited(response: requests.Response, at_most: int) -> bytes | None:
    """What a registry sends, or None once it is more than this."""
    content = bytearray()
    for chunk in response.iter_content(_CHUNK_BYTES):
        content += chunk
        if len(content) > at_most:
            return None
    return bytes(content)


def _denied(repository: object) -> RegistryUnusable:
    return RegistryUnusable(f"{repository} denies access: set ORAS_USER and ORAS_PASS, or log in with docker.")


@contextmanager
def _translated(repository: Repository) -> Iterator[None]:
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
    except requests.exceptions.RequestException as error:
        raise RegistryUnusable(f"{repository} cannot be reached, or broke off: start it, and try again.") from error
    except (AttributeError, KeyError, TypeError, ValueError, json.JSONDecodeError, OSError) as error:
        raise RegistryUnusable(f"{repository} does not answer as a registry does.") from error
