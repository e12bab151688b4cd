"""The first start: an empty store is given the versions that ship with the product."""

from pathlib import Path

from model_store import files
from model_store.store import ModelStore

SHIPPED = Path(__file__).with_name("versions")
"""A store like any other, which is only read."""


def seed(root: Path, *, shipped: Path = SHIPPED) -> tuple[str, ...]:
    """Copies each shipped model that the store lacks, versions and promotions together, and returns their names.

    A model appears whole or not at all, however many processes start at once; one that is there is left alone.

    Args:
        root: Of the store.
        shipped: The store to copy from.

    Raises:
        IntegrityError: A shipped version is damaged.
        StoreUnusable: The store cannot be written to.
    """
    source, present = ModelStore(shipped), ModelStore(root).names()
    return tuple(name for name in source.names() if name not in present and _copied(source, name, root))


def _copied(source: ModelStore, name: str, root: Path) -> bool:
    contents = {f"promotions/{file_name}": content for file_name, content in source.log(name).contents().items()}
    for number in source.numbers(name):
        version = source.version(name, str(number)).contents()
        contents |= {f"versions/{number}/{path}": content for path, content in version.items()}
    with files.temporary(root) as folder:
        files.write_all(folder, contents)
        files.remove_empty(root / name)
        return files.move_exclusively(folder, root / name)
