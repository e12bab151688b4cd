"""EFSNet, the whole network in this one file.

Source: J. González-Novo Hueso, "Segmentación semántica eficiente para detección de tumores en ecografías
mamarias en tiempo real", master's thesis, UNED, 2024, after X. Hu and H. Wang, "Efficient Fast Semantic
Segmentation Using Continuous Shuffle Dilated Convolutions", IEEE Access 8, 2020. The initial block is ENet's
(Paszke et al., 2016), the down-sampling and factorized blocks are FSSNet's (Zhang et al., 2019), the shuffle
unit is ShuffleNet's (Zhang et al., 2017) with one dense 1x1 convolution more behind the depthwise one.

With one input channel and three classes it has 178,887 parameters at any image size, and 1,059,520,512
multiply-accumulate operations at 512x512.

Shapes beside the lines are (channels, rows, columns) for a 1x512x512 image; a batch axis stands before them.
This is the only module of the package that imports torch.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from efsnet.errors import ImageSizeUnsupported

SIZE_MULTIPLE = 8
"""Rows and columns must be multiples of this: the network halves its input three times."""

LOGIT_BOUND = 10.0
"""Logits are clamped to [-LOGIT_BOUND, LOGIT_BOUND], against exploding ones in training."""

SQUEEZE = 4
"""Width of a block divided by the width of its bottleneck."""

STEM, SHALLOW, DEEP, HEAD = 16, 64, 128, 16
"""Channels after the initial block, at 1/4, at 1/8 and before the prediction."""

DILATIONS = (1, 2, 4, 8)
"""Of the four shuffle dilated convolutions in one continuous block."""

Size = int | tuple[int, int]
"""One number for both axes, or (rows, columns)."""


def convolution(
    channels_in: int,
    channels_out: int,
    kernel: Size = 1,
    *,
    stride: int = 1,
    padding: Size = 0,
    dilation: int = 1,
    groups: int = 1,
    activated: bool = True,
) -> nn.Sequential:
    """Convolution without bias, batch normalisation, and, if `activated`, a PReLU with one slope in all."""
    layers: list[nn.Module] = [
        nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(channels_out),
    ]
    if activated:
        layers.append(nn.PReLU())
    return nn.Sequential(*layers)


class ChannelShuffle(nn.Module):
    """Interleaves the channels of `groups` groups, so that the next convolution sees all of them."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, features: Tensor) -> Tensor:
        batch, channels, rows, columns = features.shape
        grouped = features.view(batch, self.groups, channels // self.groups, rows, columns)
        return grouped.transpose(1, 2).flatten(1, 2)


class Initial(nn.Module):
    """Halves the image: a strided convolution beside the max-pooled image itself."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolved = convolution(channels_in, channels_out - channels_in, 3, stride=2, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([self.convolved(image), functional.max_pool2d(image, 2)], dim=1)


class Downsampling(nn.Module):
    """Halves the features in a residual block; its shortcut is a max-pool and a 1x1 convolution."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float) -> None:
        super().__init__()
        squeezed = channels_out // SQUEEZE
        self.shortcut = nn.Sequential(nn.MaxPool2d(2), convolution(channels_in, channels_out, activated=False))
        self.residual = nn.Sequential(
            convolution(channels_in, squeezed, 2, stride=2),
            convolution(squeezed, squeezed, 3, padding=1),
            convolution(squeezed, channels_out, activated=False),
            nn.Dropout2d(dropout),
        )
        self.activation = nn.PReLU()

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.activation(self.shortcut(features) + self.residual(features)))


class Residual(nn.Module):
    """Sum of the input and a residual branch, then an activation. The base of the three blocks below."""

    def __init__(self, residual: nn.Sequential, activation: nn.Module) -> None:
        super().__init__()
        self.residual = residual
        self.activation = activation

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.activation(features + self.residual(features)))


class Factorized(Residual):
    """Bottleneck whose 3x3 convolution is split into 1x3 and 3x1."""

    def __init__(self, channels: int, dropout: float) -> None:
        squeezed = channels // SQUEEZE
        super().__init__(
            nn.Sequential(
                convolution(channels, squeezed),
                convolution(squeezed, squeezed, (1, 3), padding=(0, 1), activated=False),
                convolution(squeezed, squeezed, (3, 1), padding=(1, 0)),
                convolution(squeezed, channels, activated=False),
                nn.Dropout2d(dropout),
            ),
            nn.PReLU(),
        )


class ShuffleDilated(Residual):
    """SDC, the shuffle dilated convolution: grouped 1x1, shuffle, dense dilated 3x3, grouped 1x1."""

    def __init__(self, channels: int, dilation: int, groups: int, dropout: float) -> None:
        squeezed = channels // SQUEEZE
        super().__init__(
            nn.Sequential(
                convolution(channels, squeezed, groups=groups),
                ChannelShuffle(groups),
                convolution(squeezed, squeezed, 3, padding=dilation, dilation=dilation, activated=False),
                convolution(squeezed, channels, groups=groups, activated=False),
                nn.Dropout2d(dropout),
            ),
            nn.PReLU(),
        )


class ShuffleUnit(Residual):
    """ShuffleNet's unit with a dense 1x1 convolution behind the depthwise one. ReLU, not PReLU.

    The thesis' diagram leaves the dense 1x1 out; its parameter table and its code have it.
    """

    def __init__(self, channels: int, groups: int, dropout: float) -> None:
        squeezed = channels // SQUEEZE
        super().__init__(
            nn.Sequential(
                nn.Conv2d(channels, squeezed, 1, groups=groups, bias=False),
                nn.BatchNorm2d(squeezed),
                nn.ReLU(),
                ChannelShuffle(groups) if groups > 1 else nn.Identity(),
                nn.Conv2d(squeezed, squeezed, 3, padding=1, groups=squeezed, bias=False),
                nn.Conv2d(squeezed, squeezed, 1, bias=False),
                nn.BatchNorm2d(squeezed),
                nn.Conv2d(squeezed, channels, 1, groups=groups, bias=False),
                nn.BatchNorm2d(channels),
                nn.Dropout2d(dropout),
            ),
            nn.ReLU(),
        )


class Upsampling(nn.Module):
    """Doubles two inputs of equal size, by interpolation and by deconvolution, and joins them.

    The skip comes from the low-resolution side: it has the size of the main input, not of the output.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.main = nn.Sequential(
            convolution(channels_in, half, activated=False),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        )
        self.skip = nn.Sequential(
            convolution(channels_in, half),
            nn.ConvTranspose2d(half, half, 2, stride=2, bias=False),
        )
        self.activation = nn.PReLU()

    def forward(self, main: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.activation(torch.cat([self.main(main), self.skip(skip)], dim=1)))


class SegmentationNetwork(nn.Module):
    """From an image to the logits of its classes; what EFSNet and the networks it is compared with have in common.

    A subclass has `predict`, the last layer, which takes the last of its `features`.
    """

    predict: nn.Module

    leaps = False
    """Whether rounding can move the answer at single pixels by any amount, as where a maximum is looked for."""

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image, clamped to [-LOGIT_BOUND, LOGIT_BOUND].

        Args:
            image: (batch, in_channels, rows, columns) float in [0, 1].

        Returns:
            (batch, classes, rows, columns), no softmax.

        Raises:
            ImageSizeUnsupported: rows or columns are no multiple of SIZE_MULTIPLE.
        """
        return self.unclamped(image).clamp(-LOGIT_BOUND, LOGIT_BOUND)

    def unclamped(self, image: Tensor) -> Tensor:
        """Logits before the clamp, as the exported graph computes them. Shapes as in `forward`."""
        return cast(Tensor, self.predict(self.features(image)[-1]))

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        """What the network makes of an image at 1/8, 1/4 and 1/2 of its size, on the way back to it.

        Args:
            image: As in `forward`.

        Returns:
            (batch, DEEP, rows/8, columns/8), (batch, SHALLOW, rows/4, columns/4), (batch, HEAD, rows/2, columns/2).

        Raises:
            ImageSizeUnsupported: as in `forward`.
        """
        raise NotImplementedError


class EFSNet(SegmentationNetwork):
    """The network of the thesis.

    Args:
        in_channels: Channels of the image, 1 for grey.
        classes: Channels of the answer; channel 0 is background.
        dropout: Probability that a channel of a residual branch is zeroed in training (thesis: 0.2).
    """

    def __init__(self, in_channels: int = 1, classes: int = 3, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.initial = Initial(in_channels, STEM)
        self.down1 = Downsampling(STEM, SHALLOW, dropout)
        self.factorized = nn.Sequential(*(Factorized(SHALLOW, dropout) for _ in range(4)))
        self.down2 = Downsampling(SHALLOW, DEEP, dropout)
        self.csdc = nn.Sequential(*(ShuffleDilated(DEEP, dilation, 2, dropout) for dilation in DILATIONS * 2))
        self.up1: nn.Module = Upsampling(DEEP, SHALLOW)
        self.shuffle1 = nn.Sequential(*(ShuffleUnit(SHALLOW, 2, dropout) for _ in range(2)))
        self.up2: nn.Module = Upsampling(SHALLOW, HEAD)
        self.shuffle2 = nn.Sequential(*(ShuffleUnit(HEAD, 1, dropout) for _ in range(2)))
        self.predict = nn.ConvTranspose2d(HEAD, classes, 3, stride=2, padding=1, output_padding=1)

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        check_size(image)
        half = self.initial(image)  # 16, 256, 256
        quarter = self.down1(half)  # 64, 128, 128: the skip of up2
        eighth = self.down2(self.factorized(quarter))  # 128, 64, 64: the skip of up1
        context = self.csdc(eighth)  # 128, 64, 64
        quarter_again = self.shuffle1(self.up1(context, eighth))  # 64, 128, 128
        half_again = self.shuffle2(self.up2(quarter_again, quarter))  # 16, 256, 256
        return context, quarter_again, half_again  # and `predict` makes classes, 512, 512 of the last


def check_size(image: Tensor) -> None:
    """Refuses an image that the network cannot halve three times and come back to.

    Raises:
        ImageSizeUnsupported: rows or columns are no multiple of SIZE_MULTIPLE.
    """
    rows, columns = image.shape[-2:]
    if rows % SIZE_MULTIPLE or columns % SIZE_MULTIPLE:
        raise ImageSizeUnsupported(rows, columns, SIZE_MULTIPLE)
