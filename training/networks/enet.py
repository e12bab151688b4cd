"""ENet: a baseline.

Source: A. Paszke et al., "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation",
arXiv:1606.02147, 2016. With one input channel and three classes it has 362,362 parameters.

Shapes beside the lines are (channels, rows, columns) for a 1x512x512 image; a batch axis stands before them.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from efsnet.network import DEEP, HEAD, SHALLOW, SQUEEZE, STEM, SegmentationNetwork, Size, check_size

DILATED = (None, 2, 0, 4, None, 8, 0, 16)
"""The eight bottlenecks of a stage at 1/8: plain (None), asymmetric (0), or dilated by the number."""

ASYMMETRIC = 5
"""Length of the two convolutions into which an asymmetric one is split."""


class Bottleneck(nn.Module):
    """Sum of a shortcut and a narrow convolution between two 1x1 ones, then an activation.

    Args:
        channels: In and out.
        dilation: None for a plain 3x3 convolution, 0 for 5x1 and 1x5, else a dilated 3x3 one.
        dropout: Of whole channels of the narrow branch.
        encoder: PReLU with a slope for each channel; the decoder has ReLU.
    """

    def __init__(self, channels: int, dilation: int | None, dropout: float, *, encoder: bool) -> None:
        super().__init__()
        squeezed = channels // SQUEEZE
        self.residual = nn.Sequential(
            *_convolution(channels, squeezed, encoder=encoder),
            *_middle(squeezed, dilation),
            nn.BatchNorm2d(squeezed),
            _activation(squeezed, encoder=encoder),
            nn.Conv2d(squeezed, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.Dropout2d(dropout),
        )
        self.activation = _activation(channels, encoder=encoder)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.activation(features + self.residual(features)))


class Downsampling(nn.Module):
    """Halves the features; the shortcut is a max-pool with channels of zeros behind its own."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float) -> None:
        super().__init__()
        squeezed = channels_out // SQUEEZE
        self.missing = channels_out - channels_in
        self.residual = nn.Sequential(
            *_convolution(channels_in, squeezed, 2, stride=2, encoder=True),
            *_convolution(squeezed, squeezed, 3, encoder=True),
            nn.Conv2d(squeezed, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.Dropout2d(dropout),
        )
        self.activation = _activation(channels_out, encoder=True)

    def forward(self, features: Tensor) -> Tensor:
        pooled = functional.max_pool2d(features, 2)
        widened = functional.pad(pooled, (0, 0, 0, 0, 0, self.missing))
        return cast(Tensor, self.activation(widened + self.residual(features)))


class Upsampling(nn.Module):
    """Doubles the features; the shortcut puts each value where the encoder's max-pool took its own from."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float) -> None:
        super().__init__()
        squeezed = channels_out // SQUEEZE
        self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out))
        self.residual = nn.Sequential(
            *_convolution(channels_in, squeezed, encoder=False),
            nn.ConvTranspose2d(squeezed, squeezed, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(squeezed),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.Dropout2d(dropout),
        )
        self.activation = nn.ReLU()

    def forward(self, features: Tensor, pooled: Tensor) -> Tensor:
        unpooled = _unpooled(self.shortcut(features), pooled)
        return cast(Tensor, self.activation(unpooled + self.residual(features)))


class ENet(SegmentationNetwork):
    """Arguments as of EFSNet; the stages 2 and 3 of the paper are `deep`."""

    leaps = True

    def __init__(self, in_channels: int = 1, classes: int = 3, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.convolved = nn.Conv2d(in_channels, STEM - in_channels, 3, stride=2, padding=1, bias=False)
        self.initial = nn.Sequential(nn.BatchNorm2d(STEM), nn.PReLU(STEM))
        self.down1 = Downsampling(STEM, SHALLOW, dropout)
        self.shallow = nn.Sequential(*(Bottleneck(SHALLOW, None, dropout, encoder=True) for _ in range(4)))
        self.down2 = Downsampling(SHALLOW, DEEP, dropout)
        self.deep = nn.Sequential(*(Bottleneck(DEEP, dilation, dropout, encoder=True) for dilation in DILATED * 2))
        self.up1 = Upsampling(DEEP, SHALLOW, dropout)
        self.decoder1 = nn.Sequential(*(Bottleneck(SHALLOW, None, dropout, encoder=False) for _ in range(2)))
        self.up2 = Upsampling(SHALLOW, HEAD, dropout)
        self.decoder2 = Bottleneck(HEAD, None, dropout, encoder=False)
        self.predict = nn.ConvTranspose2d(HEAD, classes, 2, stride=2)

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        check_size(image)
        half = self.initial(torch.cat([self.convolved(image), functional.max_pool2d(image, 2)], dim=1))  # 16, 256, 256
        quarter = self.shallow(self.down1(half))  # 64, 128, 128
        context = self.deep(self.down2(quarter))  # 128, 64, 64
        quarter_again = self.decoder1(self.up1(context, quarter))  # 64, 128, 128
        half_again = self.decoder2(self.up2(quarter_again, half))  # 16, 256, 256
        return context, quarter_again, half_again


def _convolution(
    channels_in: int, channels_out: int, kernel: int = 1, *, stride: int = 1, encoder: bool
) -> list[nn.Module]:
    return [
        nn.Conv2d(
            channels_in, channels_out, kernel, stride=stride, padding=kernel // 2 if stride == 1 else 0, bias=False
        ),
        nn.BatchNorm2d(channels_out),
        _activation(channels_out, encoder=encoder),
    ]


def _middle(channels: int, dilation: int | None) -> list[nn.Module]:
    def narrow(kernel: Size, padding: Size, dilation: int = 1) -> nn.Conv2d:
        return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, bias=False)

    if dilation is None:
        return [narrow(3, 1)]
    if dilation:
        return [narrow(3, dilation, dilation)]
    half = ASYMMETRIC // 2
    return [narrow((ASYMMETRIC, 1), (half, 0)), narrow((1, ASYMMETRIC), (0, half))]


def _activation(channels: int, *, encoder: bool) -> nn.Module:
    return nn.PReLU(channels) if encoder else nn.ReLU()


def _unpooled(features: Tensor, pooled: Tensor) -> Tensor:
    """Max-unpooling in operators that every engine has: where two of four inputs tie, both get the value.

    Args:
        features: (batch, channels, rows, columns) to be spread.
        pooled: (batch, channels, 2 rows, 2 columns) what the max-pool was taken of.
    """
    highest = functional.interpolate(functional.max_pool2d(pooled, 2), scale_factor=2.0, mode="nearest")
    return functional.interpolate(features, scale_factor=2.0, mode="nearest") * (pooled == highest)
