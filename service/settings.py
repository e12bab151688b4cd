"""Every knob of the service. Nothing else reads the environment."""

import os
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from efsnet.predictor import Computation
from efsnet.specification import Precision
from model_store.signatures import RELEASE_KEYS, SignaturePolicy, Trust
from service.audit_settings import AuditSettings
from service.errors import SettingsInvalid
from service.oidc_settings import OidcSettings
from service.pacs_settings import PacsSettings
from service.stream_settings import StreamSettings
from service.tls_settings import TlsSettings

_PARTS: dict[int | str, type[BaseModel]] = {
    "audit": AuditSettings,
    "oidc": OidcSettings,
    "pacs": PacsSettings,
    "stream": StreamSettings,
    "tls": TlsSettings,
}

ELSEWHERE = frozenset({"EFSNET_CPUS", "EFSNET_DATA", "EFSNET_MEMORY"})
"""Variables that docker-compose.yml reads, and that may stand in the same environment."""


def _path_of_a_url(text: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", text):
        raise ValueError("a path begins with / and does not end with it, such as /efsnet")
    return text


def _networks(text: str) -> str:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        try:
            ip_network(part)
        except ValueError as error:
            raise ValueError("proxies are addresses or networks with commas, such as 10.0.0.7,172.16.0.0/12") from error
    return ",".join(parts)


def _expanded(path: Path | None) -> Path | None:
    return path and path.expanduser()


class Settings(BaseSettings):
    """Read once, when the service starts, from variables named EFSNET_ and the knob in capitals.

    docs/settings.md lists them, and a test holds it to that.
    """

    model_config = SettingsConfigDict(
        env_prefix="EFSNET_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine only."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 takes a free one."""
    bind: str | None = None
    """Address at which a container's port is published, which there decides who reaches it; outside it says nothing."""
    open_to_network: Literal["no", "without-keys"] = "no"
    """`without-keys`: listens beyond this machine though there are no API keys, and answers whoever reaches it."""
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    """Addresses of proxies whose word is taken for who asks (`X-Forwarded-For`), with commas; nobody's by default."""
    connections: PositiveInt = 1000
    """Connections at the same time; one more is closed at once."""
    wrong_keys_per_minute: NonNegativeInt = 30
    """Wrong keys or tokens that are looked at from one address within a minute; 0 looks at any number."""
    requests_per_minute: NonNegativeInt = 0
    """Requests that one key or token may make within a minute; 0 sets no limit."""
    root_path: Annotated[str, AfterValidator(_path_of_a_url)] = ""
    """Path under which a proxy publishes the service, such as `/efsnet`."""
    store: Annotated[Path, AfterValidator(Path.expanduser), Field(validate_default=True)] = Path(
        "~/.local/share/efsnet/store"
    )
    """Folder of the published versions; an empty one is given the version that ships with the service."""
    state: Annotated[Path | None, AfterValidator(_expanded)] = None
    """Folder of the service's API keys and of the newest promotions seen; by default beside the store, as `…-state`."""
    keys: Annotated[Path | None, AfterValidator(_expanded)] = None
    """File of the API keys, where it is not to be `keys.json` in the folder of `EFSNET_STATE`."""
    model: str = "efsnet"
    """Model that answers when a request names none, with the version that its alias `production` names."""
    provider: Literal["auto", "openvino", "cpu", "cuda", "tensorrt"] = "auto"
    """Inference engine; `auto` takes the fastest of those installed."""
    precision: Precision = "f32"
    """Arithmetic of the network; `bf16` needs a processor that has it; a version that does not allow it stays f32."""
    batch: PositiveInt = 1
    """Images that go through the network together at most, if they come at the same time; more than 1 is for GPUs."""
    batch_wait_ms: Annotated[NonNegativeFloat, Field(le=1000)] = 2.0
    """Longest time that an image waits for others to go with, where `EFSNET_BATCH` is above 1."""
    workers: PositiveInt | None = None
    """Images processed at the same time; one for each core by default."""
    queue_capacity: NonNegativeInt = 32
    """Images that may wait for a worker; one more is refused with 429."""
    upload_capacity: PositiveInt = 32
    """Uploads received at the same time; one more is refused with 429. Bounds the memory for uploads."""
    loaded_mb: PositiveInt | None = None
    """Memory for versions beside those that answer for an alias; by default as much as two like production's take."""
    follow_s: PositiveFloat = 2.0
    """Time between looks at the store for a new promotion."""
    shadow_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the live images that the version of the alias `candidate` sees too, for comparison; 0 tries none."""
    selftest_s: Annotated[float, Field(ge=1)] = 3600.0
    """Time between two self-tests, which replay the reference images; what fails does not answer."""
    signatures: SignaturePolicy = "warn"
    """Versions without a trusted signature: `off` does not look, `warn` tells of them, `require` refuses them."""
    corrections: Annotated[Path | None, AfterValidator(_expanded)] = None
    """Folder in which experts' corrections are kept, as training reads them; without it nothing of an image is kept."""
    trusted_keys: Annotated[Path | None, AfterValidator(_expanded)] = None
    """Folder of the public keys (`*.pub`) whose signatures are trusted; by default the keys of the shipped versions."""
    max_body_bytes: PositiveInt = 10_000_000
    """Largest request body, but for DICOM."""
    max_dicom_bytes: PositiveInt = 100_000_000
    """Largest DICOM file; a cine loop is larger than a photograph."""
    max_frames: PositiveInt = 1000
    """Frames of a DICOM file that are taken at most."""
    large_uploads: PositiveInt = 2
    """Uploads above `EFSNET_MAX_BODY_BYTES`, or of unknown length, in work at the same time; one more gets 429."""
    max_pixels: PositiveInt = 25_000_000
    """Largest image, in pixels, found from its header before it is decoded."""
    upload_timeout_s: PositiveFloat = 30.0
    """Time in which a request's body must have arrived."""
    deadline_s: PositiveFloat = 30.0
    """Time in which an answer must be ready once the body has arrived; also how long a stop waits for running work."""
    drain_s: NonNegativeFloat = 0.0
    """Time between becoming not ready and closing the port at a stop; behind a load balancer, longer than its check."""
    jobs_url: SecretStr | None = None
    """Database of the jobs, such as `postgresql://USER:PASSWORD@HOST/NAME`; by default SQLite in `EFSNET_STATE`."""
    audit: AuditSettings = AuditSettings()
    """The audit trail, each knob as a variable `EFSNET_AUDIT_…`."""
    oidc: OidcSettings = OidcSettings()
    """Tokens of an issuer, each knob as a variable `EFSNET_OIDC_…`."""
    pacs: PacsSettings = PacsSettings()
    """The connection to a PACS, each knob as a variable `EFSNET_PACS_…`."""
    stream: StreamSettings = StreamSettings()
    """Live streams, each knob as a variable `EFSNET_STREAM_…`."""
    tls: TlsSettings = TlsSettings()
    """TLS without a proxy, each knob as a variable `EFSNET_TLS_…`."""

    @model_validator(mode="after")
    def _state_is_not_in_the_store(self) -> Self:
        if self.state_folder.resolve().is_relative_to(self.store.resolve()):
            raise ValueError("EFSNET_STATE is in the store: whoever sets that back would set it back too")
        return self

    @property
    def state_folder(self) -> Path:
        """Where the service keeps what is its own."""
        return self.state or self.store.with_name(f"{self.store.name}-state")

    @property
    def keys_file(self) -> Path:
        """Where the API keys are."""
        return self.keys or self.state_folder / "keys.json"

    @property
    def audit_key_file(self) -> Path:
        """Where the key is with which the audit trail hashes images."""
        return self.state_folder / "audit.key"

    @property
    def computation(self) -> Computation:
        """How the network is to be computed; by one thread for each worker."""
        return Computation(
            provider=self.provider,
            precision=self.precision,
            batch=self.batch,
            batch_wait_s=self.batch_wait_ms / 1000,
        )

    def read_trust(self) -> Trust:
        """Whose signatures are believed, as the folder of keys is now.

        Raises:
            KeyUnusable: The folder holds no key, or something else.
        """
        return Trust.read(self.signatures, self.trusted_keys or RELEASE_KEYS)

    @property
    def promotions_folder(self) -> Path:
        """Where the newest promotions are that were seen."""
        return self.state_folder / "promotions"

    def reached_at(self, *, contained: bool) -> str | None:
        """The address at which others than this machine can reach the port; None if they cannot.

        Args:
            contained: Whether this runs in a container. Nowhere else does it matter where a port is published.
        """
        address = self.bind if self.bind and contained else self.host
        try:
            return None if ip_address(address).is_loopback else address
        except ValueError:
            return None if address == "localhost" else address

    def told(self, text: str) -> str:
        """A text for whoever asks: where a folder is, only who runs the service needs to know."""
        folders = {
            "EFSNET_STORE": self.store,
            "EFSNET_STATE": self.state_folder,
            **({"EFSNET_KEYS": self.keys} if self.keys else {}),
            **({"EFSNET_CORRECTIONS": self.corrections} if self.corrections else {}),
            "EFSNET_TRUSTED_KEYS": self.trusted_keys or RELEASE_KEYS,
        }
        for name, folder in sorted(folders.items(), key=lambda item: -len(str(item[1]))):
            text = text.replace(str(folder), name)
        return text


def knobs() -> dict[str, FieldInfo]:
    """Every variable that is read, and what it sets."""
    found: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        parts = _PARTS[name].model_fields if name in _PARTS else {}
        found |= {f"EFSNET_{name}_{part}".upper(): knob for part, knob in parts.items()}
        if not parts:
            found[f"EFSNET_{name}".upper()] = field
    return found


def in_container(root: Path = Path("/")) -> bool:
    """Whether this runs in a container: Docker and Podman leave a file that says so."""
    return any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv"))


def read_settings(**given: Any) -> Settings:
    """The settings of the environment, and those given instead of it.

    Raises:
        SettingsInvalid: with each setting that cannot be, and each variable that is none of ours but looks like it.
    """
    known = knobs().keys() | ELSEWHERE
    # Small letters are taken too.
    strange = sorted(name for name in os.environ if name.upper().startswith("EFSNET_") and name.upper() not in known)
    problems = [f"{name}: there is no such setting; docs/settings.md lists them." for name in strange]
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems += [
            f"{_named(each['loc'])}{each['msg'].removeprefix('Value error, ')}."
            for each in error.errors()
            if each["type"] != "extra_forbidden"  # told above
        ]
    if problems:
        raise SettingsInvalid("\n".join(problems))
    return settings


def _named(location: tuple[int | str, ...]) -> str:
    """What a problem is with; one of several settings together names them itself."""
    if not location or location in {(part,) for part in _PARTS}:
        return ""
    return f"EFSNET_{'_'.join(map(str, location[:2] if location[0] in _PARTS else location[:1])).upper()}: "
