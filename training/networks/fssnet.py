"""FSSNet, the network from which EFSNet was made: a baseline.

Source: X. Zhang et al., "Fast Semantic Segmentation for Scene Perception", IEEE Transactions on Industrial
Informatics 15, 2019. Its encoder and its last layer are EFSNet's own; in between stand six dilated bottlenecks
instead of the shuffled ones, and an up-sampling that adds its skip instead of joining it. The paper's figures
contradict each other in the order of that up-sampling; this one meets the published size within 4 %.

With one input channel and three classes it has 190,671 parameters.
"""

from typing import cast

from torch import Tensor, nn

from efsnet.network import DEEP, HEAD, SHALLOW, SQUEEZE, EFSNet, Residual, convolution

DILATIONS = (2, 5, 9)
"""Without a common divisor, so that no pixel is passed over; the three follow each other twice."""


class Bottleneck(Residual):
    """Narrow 3x3 convolution between two 1x1 ones, dilated or not."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        squeezed = channels // SQUEEZE
        super().__init__(
            nn.Sequential(
                convolution(channels, squeezed),
                convolution(squeezed, squeezed, 3, padding=dilation, dilation=dilation),
                convolution(squeezed, channels, activated=False),
                nn.Dropout2d(dropout),
            ),
            nn.PReLU(),
        )


class SummedUpsampling(nn.Module):
    """Doubles the sum of two inputs of equal size: interpolated, plus through a deconvolved bottleneck."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        squeezed = channels_in // SQUEEZE
        self.shortcut = nn.Sequential(
            convolution(channels_in, channels_out, activated=False),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        )
        self.residual = nn.Sequential(
            convolution(channels_in, squeezed),
            nn.ConvTranspose2d(squeezed, squeezed, 2, stride=2, bias=False),
            nn.BatchNorm2d(squeezed),
            nn.PReLU(),
            convolution(squeezed, channels_out, activated=False),
        )
        self.activation = nn.PReLU()

    def forward(self, main: Tensor, skip: Tensor) -> Tensor:
        joined = main + skip
        return cast(Tensor, self.activation(self.shortcut(joined) + self.residual(joined)))


class FSSNet(EFSNet):
    """EFSNet's stages with FSSNet's parts; arguments and shapes are the same."""

    def __init__(self, in_channels: int = 1, classes: int = 3, *, dropout: float = 0.2) -> None:
        super().__init__(in_channels, classes, dropout=dropout)
        self.csdc = nn.Sequential(*(Bottleneck(DEEP, dilation, dropout) for dilation in DILATIONS * 2))
        self.up1 = SummedUpsampling(DEEP, SHALLOW)
        self.shuffle1 = nn.Sequential(*(Bottleneck(SHALLOW, 1, dropout) for _ in range(2)))
        self.up2 = SummedUpsampling(SHALLOW, HEAD)
        self.shuffle2 = nn.Sequential(*(Bottleneck(HEAD, 1, dropout) for _ in range(2)))
