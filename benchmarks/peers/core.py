"""What every peer does with an upload: the service's own steps from file to mask, so that only the serving differs.

EFSNET_PEER_VERSION is the folder of the version. EFSNET_PEER_ENGINE is `plain`, ONNX Runtime's provider as it comes,
or `ours`, the service's engine with one thread.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime

from efsnet.image import decode_image
from efsnet.maps import ProbabilityMap
from efsnet.postprocessing import to_grid, to_label_map
from efsnet.predictor import Predictor
from efsnet.preprocessing import to_input
from efsnet.rendering import palette_png
from efsnet.specification import Specification

WORKERS = (os.cpu_count() or 1) if os.environ["EFSNET_PEER_ENGINE"] == "ours" else 1
"""Processes: one a core with our engine; else one, whose network takes all cores, as ONNX Runtime does by itself."""


class Core:
    """The model, loaded."""

    def __init__(self) -> None:
        folder = Path(os.environ["EFSNET_PEER_VERSION"])
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self._specification = Specification.model_validate(manifest["specification"])
        model = (folder / "model.onnx").read_bytes()
        if os.environ["EFSNET_PEER_ENGINE"] == "ours":
            self._predict = Predictor(model, self._specification).run
        else:
            self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
            self._predict = self._run

    def segment(self, upload: bytes) -> bytes:
        """The palette PNG of the mask, on the image's own grid."""
        image = decode_image(upload)
        probability_map = self._predict(to_input(image, self._specification.input))
        label_map = to_label_map(probability_map, self._specification.post_processing)
        return palette_png(to_grid(label_map, image.rows, image.columns), self._specification.classes)

    def _run(self, tensor: np.ndarray) -> ProbabilityMap:
        return ProbabilityMap(self._session.run(None, {"image": tensor[np.newaxis]})[0][0])
