"""A residual U-Net of 10 million parameters (MONAI's): the teacher, and the ceiling for small networks.

Source: O. Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015, with
the residual units of E. Kerfoot et al., "Left-Ventricle Quantification Using Residual U-Net", STACOM 2018.
"""

from itertools import pairwise

from monai.networks.nets.unet import UNet as MonaiUNet
from torch import Tensor, nn

from efsnet.errors import ImageSizeUnsupported
from efsnet.network import SegmentationNetwork

CHANNELS = (24, 48, 96, 192, 384, 512)
"""Of each level, from the full size to 1/32."""

MULTIPLE = 2 ** (len(CHANNELS) - 1)


class UNet(SegmentationNetwork):
    """Arguments as of EFSNet. Its inner features are MONAI's own matter: `features` has those of the full size alone.

    Raises:
        ImageSizeUnsupported: (when called) rows or columns are no multiple of MULTIPLE.
    """

    def __init__(self, in_channels: int = 1, classes: int = 3, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = MonaiUNet(
            2,
            in_channels,
            CHANNELS[0],
            channels=CHANNELS,
            strides=tuple(2 for _ in pairwise(CHANNELS)),
            num_res_units=2,
            norm="batch",
            dropout=dropout,
        )
        self.predict = nn.Conv2d(CHANNELS[0], classes, 1)

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        rows, columns = image.shape[-2:]
        if rows % MULTIPLE or columns % MULTIPLE:
            raise ImageSizeUnsupported(rows, columns, MULTIPLE)
        return (self.body(image),)
