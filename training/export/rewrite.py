"""The network in the form that inference engines run fastest, exactly equal to the trained one in eval mode.

Normalisation is folded into the convolution before it, a channel shuffle into the weights behind it, a PReLU of
one slope becomes a leaky ReLU, a deconvolution becomes a convolution and a depth-to-space, and dropout goes.
Grouped convolutions stay: as dense ones with zeros they took 0.5 to 1 CPU-ms more at 512x512.
"""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from efsnet.network import ChannelShuffle, SegmentationNetwork


@torch.no_grad()
def for_inference(network: SegmentationNetwork) -> SegmentationNetwork:
    """A rewritten copy of the same float type, in eval mode and without gradients."""
    rewritten = copy.deepcopy(network).eval()
    _rewrite(rewritten)
    return rewritten.requires_grad_(requires_grad=False)


def _rewrite(block: nn.Module) -> None:
    for name, child in block.named_children():
        layers = [part for part in child.modules() if not isinstance(part, nn.Sequential)]
        if any([*layer.children()] for layer in layers):
            _rewrite(child)  # it joins branches somewhere inside
        else:
            setattr(block, name, nn.Sequential(*_rewritten(layers)))


def _rewritten(layers: Iterable[nn.Module]) -> list[nn.Module]:
    chain: list[nn.Module] = []
    shuffle_groups = 1  # of a channel shuffle that was left out and is not yet made up for
    for layer in layers:
        match layer:
            case nn.Dropout() | nn.Dropout2d() | nn.Identity():
                pass
            case ChannelShuffle():
                shuffle_groups = layer.groups
            case nn.Conv2d() if shuffle_groups > 1:
                chain.append(_on_unshuffled(layer, shuffle_groups))
                if layer.groups == 1:
                    shuffle_groups = 1
            case nn.BatchNorm2d() if chain:
                before = chain.pop()
                chain.append(fuse_conv_bn_eval(before, layer, isinstance(before, nn.ConvTranspose2d)))  # type: ignore[type-var]  # takes both kinds
            case nn.PReLU() if layer.num_parameters == 1:
                chain.append(nn.LeakyReLU(layer.weight.item()))
            case _:
                chain.append(layer)
    return [part for layer in chain for part in _without_deconvolution(layer)]


def _on_unshuffled(convolution: nn.Conv2d, groups: int) -> nn.Conv2d:
    """The same convolution for features whose channels were not shuffled.

    A dense one makes up for the shuffle. A depthwise one gives unshuffled features in its turn.
    """
    unshuffled = torch.arange(convolution.in_channels).view(groups, -1).T.flatten()  # where each channel comes from
    axis = 1 if convolution.groups == 1 else 0
    weight = convolution.weight
    weight.copy_(torch.zeros_like(weight).index_copy(axis, unshuffled, weight))
    return convolution


def _without_deconvolution(layer: nn.Module) -> list[nn.Module]:
    """A deconvolution of stride 2 as a convolution to four phases of each channel and a depth-to-space.

    Of size 2, an input pixel gives an even output by the first tap and an odd one by the second. Of size 3 with
    padding 1 and output padding 1, the even output is w1·x[i], and the odd one w2·x[i] + w0·x[i+1].
    Any other layer stays as it is.
    """
    if not isinstance(layer, nn.ConvTranspose2d):
        return [layer]
    if layer.kernel_size == (2, 2):
        taps = torch.eye(2)[None]  # input pixel, phase of the output, tap: 1 where the three meet
        padding: list[nn.Module] = []
    else:
        taps = torch.zeros(2, 2, 3)
        taps[0, 0, 1] = taps[0, 1, 2] = taps[1, 1, 0] = 1
        padding = [nn.ZeroPad2d((0, 1, 0, 1))]
    taps = taps.to(layer.weight)
    # i, o: channels in and out; p, q: pixels; a, b: phases; k, l: taps, each along rows and columns
    kernel = torch.einsum("iokl,pak,qbl->oabipq", layer.weight, taps, taps).flatten(0, 2)
    convolution = nn.Conv2d(layer.in_channels, 4 * layer.out_channels, len(taps), bias=layer.bias is not None)
    convolution.weight = nn.Parameter(kernel)
    if layer.bias is not None:
        convolution.bias = nn.Parameter(layer.bias.repeat_interleave(4))
    return [*padding, convolution, nn.PixelShuffle(2)]
