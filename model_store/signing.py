"""Keys, and signatures made with them by OpenSSF model-signing, which the extra `signing` installs."""

from pathlib import Path

from model_store import files
from model_store.errors import AlreadySigned, KeyUnusable, SignatureUntrusted, SigningUnavailable
from model_store.manifest import SIGNATURE
from model_store.signatures import Signature, TrustedKey, TrustedKeys, read_key, verify
from model_store.version import Version


def generate(path: Path, *, passphrase: str = "") -> TrustedKey:
    """A new pair of keys of EC P-256: the private one in `path`, for its owner's eyes only, the public one beside it.

    Args:
        path: Of the private key, `NAME.pem`; the public one becomes `NAME.pub`.
        passphrase: Encrypts the private key; empty for none.

    Raises:
        KeyUnusable: One of the files exists: a key is never overwritten.
        StoreUnusable: The folder cannot be written to.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public_path = path.with_suffix(".pub")
    for taken in (path, public_path):
        if taken.exists() or taken == path == public_path:
            raise KeyUnusable(f"{taken} is taken, and a key is never overwritten: choose another name, NAME.pem.")
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption(),
    )
    public = _public(path, private, passphrase)
    files.make_folder(path.parent)
    files.write(path, private, secret=True)
    files.write(public_path, public.pem)
    files.sync(path.parent)
    return public


def sign(version: Version, private_key: Path, *, passphrase: str = "") -> Signature:
    """Signs a published version as it stands, once: its `model.sig` appears as a whole, and is never changed.

    A version that this key has signed already is left as it is, so that a signing that was interrupted can be
    repeated.

    Args:
        version: Intact.
        private_key: Of EC P-256, PEM.
        passphrase: Of the key, empty if it has none.

    Raises:
        IntegrityError: The version is damaged; nothing is signed.
        AlreadySigned: There is a signature that this key did not make of this version.
        KeyUnusable: The key cannot be read, is of another kind, or does not open with the passphrase.
        SigningUnavailable: The extra `signing` is not installed.
        StoreUnusable: The store cannot be written to.
    """
    public = _public(private_key, read_key(private_key), passphrase)
    version.contents()
    if version.signature() is None:
        root = version.path.parents[2]
        with files.temporary(root) as folder:
            made = _made(version, private_key, folder / SIGNATURE, passphrase)
        files.create_exclusively(version.path / SIGNATURE, made, made_in=root)
    try:
        return verify(version, TrustedKeys((public,)))
    except SignatureUntrusted as error:
        raise AlreadySigned(
            f"{version} has a {SIGNATURE} that {public.name} did not make of it: take it away first, if it is in error."
        ) from error


def _made(version: Version, private_key: Path, signature: Path, passphrase: str) -> bytes:
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise SigningUnavailable("Signing needs the extra `signing`: scripts/setup cpu signing.") from error
    # As that project's command line does: its verification must leave the signature out too.
    hashed = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=True)
    # The library takes the passphrase as text, and hands it on to where bytes are asked for.
    password: str = passphrase.encode() or None  # type: ignore[assignment]
    config = signing.Config().use_elliptic_key_signer(private_key=private_key, password=password)
    with files.translated():
        config.set_hashing_config(hashed).sign(version.path, signature)
        return signature.read_bytes()


def _public(path: Path, private: bytes, passphrase: str) -> TrustedKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(private, passphrase.encode() or None)
    except TypeError as error:
        said = "needs its passphrase" if not passphrase else "has no passphrase"
        raise KeyUnusable(f"{path} {said}.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"{path} is no private key in PEM, or the passphrase is another.") from error
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return TrustedKey.parse(path.stem, key.public_key().public_bytes(encoding, form))
