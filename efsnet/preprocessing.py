"""The one way from an image to the network's input, for training, evaluation and the service alike."""

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from efsnet.image import Image
from efsnet.specification import InputSpecification


def to_input(image: Image, specification: InputSpecification) -> NDArray[np.uint8]:
    """The image on the network's grid: (1, rows, columns) uint8.

    Both sides are stretched to the specified ones by Pillow's bilinear filter, a triangle whose support grows with
    the reduction. Values stay 0 to 255: the graph scales them.
    """
    size = (specification.columns, specification.rows)
    resized = PIL.Image.fromarray(image.pixels).resize(size, PIL.Image.Resampling.BILINEAR)
    return np.asarray(resized)[np.newaxis]
