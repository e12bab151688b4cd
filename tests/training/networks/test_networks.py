"""The networks beside EFSNet have the sizes that are known of them, and answer and export as it does."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from efsnet.errors import ImageSizeUnsupported
from efsnet.network import EFSNet
from efsnet.specification import PostProcessing
from training.export.onnx_export import export, parity
from training.networks import NETWORKS, build
from training.networks.enet import ENet
from training.networks.fssnet import FSSNet
from training.networks.wide import fold, widen
from training.specification import specification

RULES = PostProcessing(tumour_threshold=0.5, minimum_area_fraction=0, fill_holes=True, one_class_per_lesion=True)


def parameters(network: nn.Module) -> int:
    """How many numbers are trained in it."""
    return sum(parameter.numel() for parameter in network.parameters())


def vary(network: nn.Module) -> None:
    """Gives statistics, scales, shifts and slopes values that are neutral nowhere."""
    torch.manual_seed(0)
    with torch.no_grad():
        for layer in network.modules():
            match layer:
                case nn.BatchNorm2d():
                    layer.get_buffer("running_mean").uniform_(-0.2, 0.2)
                    layer.get_buffer("running_var").uniform_(0.5, 1.5)
                    layer.weight.uniform_(0.5, 1.5)
                    layer.bias.uniform_(-0.3, 0.3)
                case nn.PReLU():
                    layer.weight.uniform_(-0.4, 1.4)


@pytest.mark.parametrize(
    ("kind", "in_channels", "classes", "expected"),
    [
        (FSSNet, 1, 3, 190_671),
        (FSSNet, 3, 19, 193_203),
        (ENet, 1, 3, 362_362),
        (ENet, 3, 19, 363_618),
        (NETWORKS["unet"], 1, 3, 10_307_192),
    ],
)
def test_a_network_has_the_known_number_of_parameters(
    kind: type[EFSNet], in_channels: int, classes: int, expected: int
) -> None:
    """Of the paper's input and classes, and of ours."""
    assert expected == parameters(kind(in_channels, classes))


@pytest.mark.parametrize(("name", "expected"), [("fssnet", 1_255_604_224), ("enet", 1_879_769_088)])
def test_a_network_has_the_known_number_of_operations(name: str, expected: int) -> None:
    """Multiply-accumulate operations at 512 x 512; one is counted as two floating-point operations."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        build(name).eval()(torch.zeros(1, 1, 512, 512))

    assert 2 * expected == counter.get_total_flops()


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_have_the_size_of_the_image(name: str) -> None:
    """Whatever the network, so that a loss and an evaluation fit all."""
    assert build(name).eval()(torch.zeros(2, 1, 64, 96)).shape == (2, 3, 64, 96)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_size_that_cannot_be_halved_is_refused(name: str) -> None:
    """In words, not by tensors that do not fit."""
    with pytest.raises(ImageSizeUnsupported):
        build(name)(torch.zeros(1, 1, 60, 64))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_exports_to_the_same_contract(name: str) -> None:
    """ONNX Runtime gives torch's probabilities."""
    torch.manual_seed(0)
    network = build(name).eval()
    vary(network)
    specified = specification(64, RULES)
    model = export(network, specified, temperature=1.3)

    assert parity(network, model, specified, temperature=1.3).kept


@pytest.mark.parametrize("name", ["efsnet", "fssnet"])
def test_a_widened_network_folds_back_to_the_same_answers(name: str) -> None:
    """It learns with more parameters and ends with its own, under its own names."""
    network = build(name)
    narrow, names = parameters(network), list(network.state_dict())
    widen(network)
    vary(network)
    network.eval()
    image = torch.rand(2, 1, 64, 64)
    wide, expected = parameters(network), network(image)
    fold(network)

    assert wide > narrow == parameters(network)
    assert names == list(network.state_dict())
    assert (network(image) - expected).abs().max() < 1e-5


def test_max_unpooling_puts_values_where_the_maxima_were() -> None:
    """As torch's own unpooling does with the indices of the maxima, where no two values tie."""
    network = ENet().eval()
    pooled = torch.rand(1, 64, 8, 8)
    features = torch.rand(1, 128, 4, 4)
    highest, indices = nn.functional.max_pool2d(pooled, 2, return_indices=True)
    expected = nn.functional.max_unpool2d(network.up1.shortcut(features), indices, (2, 2))
    found = network.up1.activation(expected + network.up1.residual(features))

    assert (1, 64, 4, 4) == highest.shape
    assert torch.equal(found, network.up1(features, pooled))


def test_the_teacher_has_between_8_and_15_million_parameters() -> None:
    """A hundred times EFSNet's at most, so that it can be trained beside it."""
    counts = [parameters(build(name)) for name in ("efsnet", "unet")]

    assert all(small < large for small, large in pairwise(counts))
    assert 8e6 < counts[1] < 15e6
