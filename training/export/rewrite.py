"""The network in the form that inference engines run fastest, exactly equal to the trained one in eval mode.

Normalisation is folded into the convolution before it, a channel shuffle into the weights behind it, a PReLU of
one slope becomes a leaky ReLU, a deconvolution becomes a convolution and a depth-to-space, and dropout goes.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from efsnet.network import ChannelShuffle, EFSNet


def for_inference(network: EFSNet) -> EFSNet:
    """A rewritten copy, in eval mode, of the same float type."""
    rewritten = _rewritten(copy.deepcopy(network).eval())
    return rewritten.requires_grad_(requires_grad=False)  # type: ignore[return-value]  # it is an EFSNet still


def _rewritten(module: nn.Module) -> nn.Module:
    leaves = _leaves(module)
    if leaves is not None:
        chain = _rewritten_chain(leaves)
        return chain[0] if len(chain) == 1 else nn.Sequential(*chain)
    for name, child in module.named_children():
        setattr(module, name, _rewritten(child))
    return module


def _leaves(module: nn.Module) -> list[nn.Module] | None:
    """The layers of a plain chain, in order; None for a block that joins several branches."""
    if isinstance(module, nn.Sequential):
        parts = [_leaves(child) for child in module]
        return None if any(part is None for part in parts) else [leaf for part in parts for leaf in part or ()]
    return None if next(module.children(), None) is not None else [module]


def _rewritten_chain(layers: list[nn.Module]) -> list[nn.Module]:
    chain: list[nn.Module] = []
    shuffle: Tensor | None = None  # position in the unshuffled features of each channel that is yet to be shuffled
    for layer in layers:
        match layer:
            case nn.Dropout2d() | nn.Identity():
                pass
            case ChannelShuffle(groups=groups):
                channels = _channels(chain)
                shuffle = torch.arange(channels).view(groups, channels // groups).T.flatten()
            case nn.Conv2d() if shuffle is not None:
                unshuffled, shuffle = _without_shuffle(layer, shuffle)
                chain.append(unshuffled)
            case nn.BatchNorm2d():
                convolution = chain.pop()
                if not isinstance(convolution, nn.Conv2d):
                    raise TypeError(f"Normalisation is folded into the convolution before it, not {convolution}.")
                chain.append(fuse_conv_bn_eval(convolution, layer))
            case nn.PReLU():
                chain.append(nn.LeakyReLU(layer.weight.item()))
            case nn.ConvTranspose2d():
                chain += _without_deconvolution(layer)
            case _:
                chain.append(layer)
    return chain


def _channels(chain: list[nn.Module]) -> int:
    return next(layer.out_channels for layer in reversed(chain) if isinstance(layer, nn.Conv2d))


def _without_shuffle(convolution: nn.Conv2d, shuffle: Tensor) -> tuple[nn.Conv2d, Tensor | None]:
    """The convolution on unshuffled features, and the shuffle that is still to come behind it.

    A dense convolution swallows the shuffle; a depthwise one lets it through.
    """
    depthwise = convolution.groups == convolution.in_channels
    weight = torch.empty_like(convolution.weight)
    if depthwise:
        weight[shuffle] = convolution.weight.detach()
    else:
        weight[:, shuffle] = convolution.weight.detach()
    convolution.weight = nn.Parameter(weight)
    return convolution, shuffle if depthwise else None


def _without_deconvolution(layer: nn.ConvTranspose2d) -> list[nn.Module]:
    """A deconvolution of stride 2 as a convolution to four times the channels and a depth-to-space.

    Of size 2, each input pixel gives four output pixels. Of size 3 (padding 1, output padding 1), along each
    axis with taps w0, w1, w2, the even output is w1·x[i] and the odd one w2·x[i] + w0·x[i+1].
    """
    weight = layer.weight.detach().movedim(1, 0)  # (channels out, channels in, rows, columns) of taps
    if layer.kernel_size == (2, 2):
        taps = weight[..., None, None, :, :]  # one input pixel, then two by two phases
    else:
        zero = torch.zeros_like(weight[..., 0])
        columns = torch.stack([weight[..., 1], weight[..., 2], zero, weight[..., 0]], dim=-1)  # (…, rows, pixel·phase)
        zero = torch.zeros_like(columns[..., 0, :])
        rows = torch.stack([columns[..., 1, :], columns[..., 2, :], zero, columns[..., 0, :]], dim=-2)
        taps = rows.reshape(*rows.shape[:2], 2, 2, 2, 2)  # (…, row pixel, row phase, column pixel, column phase)
        taps = taps.transpose(-3, -2)  # (…, row pixel, column pixel, row phase, column phase)
    size = taps.shape[2]
    kernel = taps.permute(0, 4, 5, 1, 2, 3).flatten(0, 2)  # channels out, phases | channels in, pixels
    convolution = nn.Conv2d(layer.in_channels, 4 * layer.out_channels, size, bias=layer.bias is not None)
    convolution.weight = nn.Parameter(kernel.contiguous())
    if layer.bias is not None:
        convolution.bias = nn.Parameter(layer.bias.detach().repeat_interleave(4))
    padding: list[nn.Module] = [nn.ZeroPad2d((0, 1, 0, 1))] if size == 2 else []
    return [*padding, convolution, nn.PixelShuffle(2)]
