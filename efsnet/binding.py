"""A session's input and output in memory that stays on its device, so that no prediction asks for any."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class _Buffers:
    """Of one number of images, and what ties them to the session."""

    images: Any
    probabilities: Any
    binding: Any


class BoundSession:
    """Runs an onnxruntime.InferenceSession with bound memory (ONNX Runtime's IO binding), for one thread at a time.

    Args:
        session: With the input `image` and the output `probabilities` of `efsnet.predictor.Predictor`.
        device: Where the memory lies, in ONNX Runtime's words: "cuda", or "cpu".
    """

    def __init__(self, session: Any, device: str) -> None:
        self._session = session
        self._device = device
        self._of_count: dict[int, _Buffers] = {}

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, classes, rows, columns) probabilities of (n, 1, rows, columns) images, in memory of their own."""
        count = len(images)
        if count not in self._of_count:
            self._of_count[count] = self._allocate(images)
        buffers = self._of_count[count]
        buffers.images.update_inplace(images)
        self._session.run_with_iobinding(buffers.binding)
        # What `numpy` gives of memory on the CPU may be that memory, which the next run overwrites.
        return np.array(buffers.probabilities.numpy(), dtype=np.float32)

    def _allocate(self, images: NDArray[np.uint8]) -> _Buffers:
        (output,) = self._session.get_outputs()
        bound_images = onnxruntime.OrtValue.ortvalue_from_numpy(images, self._device, 0)
        probabilities = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            [len(images), *output.shape[1:]], np.float32, self._device, 0
        )
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("image", bound_images)
        binding.bind_ortvalue_output("probabilities", probabilities)
        return _Buffers(bound_images, probabilities, binding)
