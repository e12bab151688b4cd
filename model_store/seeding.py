"""The first start: an empty store is given the versions that ship with the product."""

from contextlib import suppress
from pathlib import Path

from model_store import files
from model_store.errors import IntegrityError, StoreUnusable
from model_store.manifest import SIGNATURE
from model_store.store import ModelStore

SHIPPED = Path(__file__).with_name("versions")
"""A store like any other, which is only read."""


def seed(root: Path, *, shipped: Path = SHIPPED) -> tuple[str, ...]:
    """Copies each shipped model that the store lacks, versions and promotions together, and returns their names.

    A model appears whole or not at all, however many processes start at once. One that is there is left alone, but for
    signatures: a version that is byte for byte a shipped one is given the signature that it lacks, since stores of
    before versions were signed are to go on under a policy that asks for one.

    Args:
        root: Of the store.
        shipped: The store to copy from.

    Raises:
        IntegrityError: A shipped version is damaged.
        StoreUnusable: The store cannot be written to.
    """
    source, store = ModelStore(shipped), ModelStore(root)
    present = store.names()
    for name in present:
        _sign_alike(source, name, store)
    return tuple(name for name in source.names() if name not in present and _copied(source, name, root))


def _sign_alike(source: ModelStore, name: str, store: ModelStore) -> None:
    """Without a word where it cannot be done: a store may be read-only, and damage is told by who loads."""
    for number in {*source.numbers(name)} & {*store.numbers(name)}:
        with suppress(IntegrityError, StoreUnusable):
            shipped, own = source.version(name, str(number)), store.version(name, str(number))
            signature = shipped.signature()
            if own.digest == shipped.digest and signature is not None and own.signature() is None:
                files.create_exclusively(own.path / SIGNATURE, signature, made_in=store.root)


def _copied(source: ModelStore, name: str, root: Path) -> bool:
    contents = {f"promotions/{file_name}": content for file_name, content in source.log(name).contents().items()}
    for number in source.numbers(name):
        version = source.version(name, str(number)).contents()
        contents |= {f"versions/{number}/{path}": content for path, content in version.items()}
    with files.temporary(root) as folder:
        files.write_all(folder, contents)
        files.remove_empty(root / name)
        return files.move_exclusively(folder, root / name)
