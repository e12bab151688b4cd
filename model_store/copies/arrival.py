"""How a version from elsewhere comes into a store: nothing that it brings is believed before it is checked here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model_store import files
from model_store.digest import Digest
from model_store.errors import CopyInvalid, DigestMismatch, FileUnexpected, VersionTaken
from model_store.manifest import MANIFEST, SIGNATURE, Manifest
from model_store.signatures import TrustedKeys, verify
from model_store.store import ModelStore
from model_store.version import SIGNATURE_MAX_BYTES, Version

FILES_MAX = 1000
CONTENT_MAX_BYTES = 1 << 30
"""Of all files of a version together, which are held in memory on their way."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the receiver asks for. Whatever a copy says of itself, it is taken only if it is this."""

    name: str
    """Of the model."""
    digest: Digest | None = None
    """Of the version, if its publisher has told it in another way."""
    signers: TrustedKeys | None = None
    """Of whom one must have signed it; None where signatures are not looked at."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A version that is in the store now, intact."""

    version: Version
    new: bool
    """False where the store had it already, the signature included."""


def limits(manifest: Manifest) -> Mapping[str, int]:
    """The largest size in bytes of each file that may lie beside the manifest, by its path.

    Raises:
        CopyInvalid: They are too many, or too large together.
    """
    sizes = {path: file.bytes for path, file in manifest.files.items()}
    if len(sizes) > FILES_MAX:
        raise CopyInvalid(f"{manifest.name} {manifest.version} has {len(sizes)} files; copies have {FILES_MAX}.")
    if (total := sum(sizes.values())) > CONTENT_MAX_BYTES:
        raise CopyInvalid(
            f"{manifest.name} {manifest.version} has {total} bytes; copies have {CONTENT_MAX_BYTES} at most."
        )
    return {**sizes, SIGNATURE: SIGNATURE_MAX_BYTES}


def arrive(store: ModelStore, contents: Mapping[str, bytes], order: Order) -> Arrival:
    """Takes a version into the store, under the number in its manifest.

    It is written beside the models, read back and checked as every version is before it serves, and only then put in
    place by one rename. No promotion comes with it: which version serves is for this store to decide.

    Args:
        store: Which may be empty, or have the version already.
        contents: Every file by its path, the manifest and a signature included.
        order: What it must be.

    Raises:
        CopyInvalid: It is another model's, or too large.
        VersionTaken: The store has another version of this number, or its promotion records remember one.
        IntegrityError: A file is missing, changed or not listed; the digest is not the one ordered; no trusted key
            has signed it; or the version of this number in the store is damaged.
        StoreUnusable: The store cannot be written to.
    """
    manifest = Manifest.parse(contents.get(MANIFEST, b""))
    if manifest.name != order.name:
        raise CopyInvalid(f"The copy is of {manifest.name} {manifest.version}, not of {order.name}.")
    for path in contents.keys() - {MANIFEST, *limits(manifest)}:
        raise FileUnexpected(f"{manifest.name} {manifest.version}: {path!r} was not published with it.")
    with files.temporary(store.root) as folder:
        arriving = checked(_written(folder, manifest, contents), order)
        target = _place(store.root, manifest)
        if present := _standing(store, arriving):
            return Arrival(present, new=_signed(store, present, arriving))
        if files.move_exclusively(arriving.path, target):
            return Arrival(Version.at(target), new=True)
        if present := _standing(store, arriving):  # another process was quicker
            return Arrival(present, new=False)
    raise VersionTaken(f"{target} is in the way, and no version: move it away.")


def _place(root: Path, manifest: Manifest) -> Path:
    return root / manifest.name / "versions" / str(manifest.version)


def _written(folder: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Version:
    place = _place(folder, manifest)
    files.write_all(place, contents)
    return Version.at(place)


def checked(version: Version, order: Order) -> Version:
    """The version, once it is what was ordered, and whole.

    Raises:
        IntegrityError: A file is missing, changed or not listed; the digest is not the one ordered; or no trusted key
            has signed it.
    """
    if order.digest not in {None, version.digest}:
        raise DigestMismatch(f"{version} has the digest {version.digest}, not {order.digest}.")
    version.contents()
    if order.signers:
        verify(version, order.signers)
    return version


def _standing(store: ModelStore, arriving: Version) -> Version | None:
    """The same version in the store; nothing where its number is free."""
    name, number = arriving.name, arriving.number
    digests = {promotion.digest for promotion in store.log(name).read() if promotion.version == number}
    present = store.version(name, str(number)) if number in store.numbers(name) else None
    if present:
        digests.add(present.digest)
    if others := digests - {arriving.digest}:
        raise VersionTaken(
            f"{arriving} is taken: here it is {min(others)}, the copy is {arriving.digest}. Nothing was changed."
        )
    if present:
        present.contents()
    return present


def _signed(store: ModelStore, present: Version, arriving: Version) -> bool:
    """Whether the version in the store was given the signature that it lacked."""
    signature = arriving.signature()
    if signature is None or present.signature() is not None:
        return False
    return files.create_exclusively(present.path / SIGNATURE, signature, made_in=store.root)
