"""The public images that each version carries, and on which it is tested when it is published and when it is loaded."""

from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).with_name("reference_images")


def reference_images() -> Mapping[str, bytes]:
    """PNG files by stem; their source and licence stand in the README beside them."""
    return {path.stem: path.read_bytes() for path in sorted(_FOLDER.glob("*.png"))}
