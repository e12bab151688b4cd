"""The rewritten network is another way to write the same function."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from efsnet.network import ChannelShuffle, EFSNet
from training.export.rewrite import for_inference

VariedNetwork = Callable[..., EFSNet]


@pytest.mark.parametrize(("precision", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("in_channels", "classes"), [(1, 3), (3, 19)])
@torch.inference_mode()
def test_the_rewritten_network_gives_the_same_logits(
    varied_network: VariedNetwork, precision: torch.dtype, bound: float, in_channels: int, classes: int
) -> None:
    """Up to rounding, in each float type, whatever statistics and slopes training came to."""
    network = varied_network(in_channels, classes).to(precision)
    image = torch.rand(2, in_channels, 104, 64, dtype=precision)

    expected, rewritten = network.unclamped(image), for_inference(network).unclamped(image)

    assert precision == rewritten.dtype
    assert expected.std() > 0.05  # logits that say something
    assert (rewritten - expected).abs().max() < bound


def test_slow_layers_are_gone(varied_network: VariedNetwork) -> None:
    """Nothing is left that inference engines run apart from the convolutions."""
    left = {type(layer) for layer in for_inference(varied_network()).modules()}

    assert left.isdisjoint({nn.BatchNorm2d, nn.PReLU, nn.ConvTranspose2d, nn.Dropout2d, nn.Identity, ChannelShuffle})


def test_a_network_in_training_is_left_as_it_was(varied_network: VariedNetwork) -> None:
    """The copy is in eval mode; the original trains on, with its own weights."""
    network = varied_network().train()
    before = copy.deepcopy(network.state_dict())

    rewritten = for_inference(network)

    assert network.training
    assert not rewritten.training
    assert not any(parameter.requires_grad for parameter in rewritten.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
