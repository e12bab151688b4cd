"""Convolutions that are wide while they learn and narrow when they are done (RepVGG: Ding et al., CVPR 2021).

Each dense 3x3 convolution of as many channels out as in is joined in training by a 1x1 convolution and by the
identity, each normalised for itself, and the three are summed. Their sum is one 3x3 convolution again, so that
nothing of this is left in the finished network.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from efsnet.network import SegmentationNetwork


class Branches(nn.Module):
    """The three branches in the place of one convolution; its own normalisation comes behind their sum.

    Args:
        convolution: The 3x3 convolution that becomes the first branch, dilated or not.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        channels = convolution.out_channels
        self.square = nn.Sequential(convolution, nn.BatchNorm2d(channels))
        self.point = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.identity = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.square(features) + self.point(features) + self.identity(features))

    def folded(self) -> tuple[nn.Conv2d, Tensor]:
        """One convolution without bias, and the (channels,) bias that is to be added to what it gives."""
        square, normalisation = cast(nn.Conv2d, self.square[0]), cast(nn.BatchNorm2d, self.square[1])
        point = cast(nn.Conv2d, self.point[0])
        unit = torch.eye(square.out_channels).view(*point.weight.shape).to(square.weight)
        kernel, bias = _fused(square.weight, normalisation)
        for weight, norm in ((point.weight, cast(nn.BatchNorm2d, self.point[1])), (unit, self.identity)):
            kernel_of_branch, bias_of_branch = _fused(weight, norm)
            kernel[:, :, 1:2, 1:2] += kernel_of_branch  # a 1x1 kernel is the centre of a 3x3 one
            bias += bias_of_branch
        convolution = copy.deepcopy(square)
        convolution.weight = nn.Parameter(kernel)
        return convolution, bias


def widen(network: SegmentationNetwork) -> None:
    """Gives each 3x3 convolution that can have them its branches, in place."""
    for parent, name, layer in _sites(network, nn.Conv2d):
        setattr(parent, name, Branches(cast(nn.Conv2d, layer)))


@torch.no_grad()
def fold(network: SegmentationNetwork) -> None:
    """Makes a widened network its narrow self again, in place; in eval mode it answers as before."""
    for parent, name, layer in _sites(network, Branches):
        convolution, bias = cast(Branches, layer).folded()
        setattr(parent, name, convolution)
        # the normalisation behind it sees features without the bias from now on
        behind = cast(nn.BatchNorm2d, parent[int(name) + 1])
        cast(Tensor, behind.running_mean).sub_(bias)


def _sites(network: nn.Module, kind: type[nn.Module]) -> list[tuple[nn.Sequential, str, nn.Module]]:
    """Where layers of a kind stand with a normalisation behind them: sequence, name in it, layer."""
    return [
        (parent, name, layer)
        for parent in network.modules()
        if isinstance(parent, nn.Sequential)
        for name, layer in parent.named_children()
        if isinstance(layer, kind) and (not isinstance(layer, nn.Conv2d) or _can_be_widened(layer))
        if int(name) + 1 < len(parent) and isinstance(parent[int(name) + 1], nn.BatchNorm2d)
    ]


def _can_be_widened(layer: nn.Conv2d) -> bool:
    same = layer.in_channels == layer.out_channels and layer.groups == 1 and layer.stride == (1, 1)
    return same and layer.kernel_size == (3, 3)


def _fused(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    kernel, bias = fuse_conv_bn_weights(weight, None, mean, variance, norm.eps, norm.weight, norm.bias)
    return kernel.detach().clone(), bias.detach().clone()
