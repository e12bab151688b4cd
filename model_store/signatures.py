"""Who vouches for a version: `model.sig`, in the format of OpenSSF model-signing with a key of EC P-256.

It is a Sigstore bundle, which holds a DSSE envelope, which holds an in-toto statement of the digest of each file.
`signing` makes it with that project's library. Here it is verified without: against the digests of the bytes that
will be used, where the library would read the files once more, and with a third of its memory in the service.

Sources: github.com/sigstore/model-transparency, docs/model_signing_format.md; github.com/secure-systems-lab/dsse,
protocol.md; github.com/in-toto/attestation, spec/v1. `cryptography` is imported where a signature is looked at only.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from model_store import files
from model_store.digest import Digest
from model_store.errors import KeyUnusable, ModelStoreError, SignatureInvalid, SignerUnknown, Unsigned
from model_store.manifest import MANIFEST, SIGNATURE, explained
from model_store.version import Version

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

SignaturePolicy = Literal["off", "warn", "require"]
"""`off`: signatures are not looked at. `warn`: they are, and a version without a trusted one is told of and loaded.
`require`: such a version is not loaded."""

RELEASE_KEYS = Path(__file__).with_name("keys")
"""The public key with which the versions that ship are signed."""

KEY_MAX_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key of EC P-256, whose signatures are believed."""

    name: str
    """Of its file, without `.pub`."""
    pem: bytes
    """SubjectPublicKeyInfo (RFC 5280) as PEM (RFC 7468), written as OpenSSL writes it."""

    @property
    def fingerprint(self) -> Digest:
        """Of the PEM text: what `sha256sum` gives for the file, and what a signature names its key by."""
        return Digest.of(self.pem)

    @classmethod
    def parse(cls, name: str, content: bytes) -> Self:
        """The key that a PEM file holds.

        Raises:
            KeyUnusable: It holds none, or one of another kind.
        """
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        pem = _loaded(name, content).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return cls(name.removesuffix(".pub"), pem)

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether this key made the signature of the message: ECDSA with SHA-256, in DER.

        Raises:
            KeyUnusable: It is no key of EC P-256.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            _loaded(self.name, self.pem).verify(signature, message, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The keys whose signatures are believed; at least one."""

    keys: tuple[TrustedKey, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise KeyUnusable("No key is trusted: name at least one.")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """All `*.pub` files of a folder, by name. Links are followed: secrets are often mounted as such.

        Raises:
            KeyUnusable: There is none, or one that is no public key of EC P-256 or cannot be read.
        """
        names = [entry.name for entry in files.entries(folder) if entry.name.endswith(".pub")]
        if not names:
            raise KeyUnusable(f"{folder} holds no trusted key: put the signers' *.pub files there.")
        return cls(tuple(TrustedKey.parse(name, read_key(folder / name)) for name in names))


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures are believed, and what becomes of a version without one."""

    policy: SignaturePolicy = "off"
    keys: TrustedKeys | None = None

    def __post_init__(self) -> None:
        if (self.policy == "off") != (self.keys is None):
            raise KeyUnusable("Trusted keys belong to the policies warn and require, and to these only.")

    @classmethod
    def read(cls, policy: SignaturePolicy, folder: Path) -> Self:
        """The policy with the keys of a folder, at which `off` does not look.

        Raises:
            KeyUnusable: There is none, or one that is no public key of EC P-256 or cannot be read.
        """
        return cls(policy, None if policy == "off" else TrustedKeys.read(folder))


@dataclass(frozen=True, slots=True)
class Signature:
    """A trusted key's word that a version is the one that its owner published."""

    signer: str
    """Name of the trusted key."""
    fingerprint: Digest

    def __str__(self) -> str:
        return f"{self.signer}, {self.fingerprint}"


def verify(version: Version, trusted: TrustedKeys) -> Signature:
    """Who signed a version, as its manifest describes it; that its files are such, `Version.contents` finds out.

    Raises:
        Unsigned: There is no signature.
        SignerUnknown: It names a key that is not trusted.
        SignatureInvalid: It is of something else than this version, was changed, or is of a form not known here.
        FileUnexpected: Something else than a file is in its place.
    """
    content = version.signature()
    if content is None:
        raise Unsigned(f"{version} is not signed: `python -m model_store sign` does it.")
    try:
        bundle = _Bundle.model_validate_json(content)
        key = _signer(version, bundle, trusted)
        statement = _Statement.model_validate_json(bundle.dsse_envelope.payload)
    except ValidationError as error:
        raise SignatureInvalid(f"{version}: {SIGNATURE} is no signature known here: {explained(error)}.") from error
    signed = {resource.name: resource.digest for resource in statement.predicate.resources}
    present = {MANIFEST: version.digest.hex, **{path: file.sha256 for path, file in version.manifest.files.items()}}
    if differing := sorted(path for path in {*signed, *present} if signed.get(path) != present.get(path)):
        raise SignatureInvalid(f"{version}: {SIGNATURE} was made of something else: {differing[0]!r} differs.")
    return Signature(key.name, key.fingerprint)


def read_key(path: Path) -> bytes:
    """The content of a key file, public or private.

    Raises:
        KeyUnusable: There is none, or it cannot be read.
    """
    try:
        content = files.read(path, KEY_MAX_BYTES, follow=True)
    except ModelStoreError as error:
        raise KeyUnusable(str(error)) from error
    if content is None:
        raise KeyUnusable(f"{path}: there is no such key.")
    return content


def _decoded(text: str) -> bytes:
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("base64 has one way to write it")
    return content


Base64 = Annotated[bytes, BeforeValidator(_decoded)]


def _loaded(name: str, content: bytes) -> "EllipticCurvePublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"{name} is no public key in PEM: `python -m model_store keygen` makes one.") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise KeyUnusable(f"{name} is no key of EC P-256: `python -m model_store keygen` makes one.")
    return key


class _Part(BaseModel):
    """A part of a bundle. No unknown member is let through: outside of the envelope nothing is signed."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class _PublicKey(_Part):
    hint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the key in PEM."""


class _Material(_Part):
    public_key: _PublicKey
    tlog_entries: tuple[()] = ()


class _EnvelopeSignature(_Part):
    sig: Base64
    keyid: Literal[""] = ""


class _Envelope(_Part):
    payload: Base64
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: tuple[_EnvelopeSignature]

    @property
    def signed(self) -> bytes:
        """What the signature is of: DSSE's pre-authentication encoding."""
        kind = self.payload_type.encode()
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)


class _Bundle(_Part):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: _Material
    dsse_envelope: _Envelope


class _Resource(BaseModel):
    name: str
    algorithm: Literal["sha256"]
    digest: str


class _Predicate(BaseModel):
    resources: tuple[_Resource, ...]


class _Statement(BaseModel):
    """What is signed; as its specification asks, other members are let through."""

    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    predicate_type: Annotated[Literal["https://model_signing/signature/v1.0"], Field(alias="predicateType")]
    predicate: _Predicate


def _signer(version: Version, bundle: _Bundle, trusted: TrustedKeys) -> TrustedKey:
    hint = Digest("sha256", bundle.verification_material.public_key.hint)
    for key in trusted.keys:
        if key.fingerprint == hint:
            if key.signed(bundle.dsse_envelope.signed, bundle.dsse_envelope.signatures[0].sig):
                return key
            raise SignatureInvalid(f"{version}: {SIGNATURE} was changed, or {key.name} did not make it.")
    raise SignerUnknown(f"{version} is signed by {hint}, which is not among the trusted keys.")
