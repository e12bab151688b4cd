"""BentoML with its own worker processes: bentoml serve bentoml_app:Segmentation."""

from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType
from core import WORKERS, Core


@bentoml.service(workers=WORKERS, metrics={"enabled": True})
class Segmentation:
    """One worker."""

    def __init__(self) -> None:
        self.core = Core()

    @bentoml.api(route="/segment")
    def segment(
        self, image: Annotated[Path, ContentType("image/png")], /
    ) -> Annotated[bytes, ContentType("image/png")]:
        """The mask of an image."""
        return self.core.segment(image.read_bytes())
