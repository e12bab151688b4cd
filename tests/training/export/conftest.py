"""Networks in which no layer is neutral, as they are after training."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from efsnet.network import EFSNet
from efsnet.specification import InputSpecification, PostProcessing, Specification
from training.specification import CLASSES

VariedNetwork = Callable[..., EFSNet]

# On pictures this small, threads wait for each other longer than they work.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def varied_network() -> VariedNetwork:
    """Makes a network with random statistics, scales and shifts, and slopes from -0.4 to 1.4."""

    def make(in_channels: int = 1, classes: int = 3) -> EFSNet:
        torch.manual_seed(0)
        network = EFSNet(in_channels, classes)
        slopes = torch.linspace(-0.4, 1.4, 39).tolist()
        with torch.no_grad():
            for layer in network.modules():
                match layer:
                    case nn.BatchNorm2d():
                        layer.get_buffer("running_mean").uniform_(-0.5, 0.5)
                        layer.get_buffer("running_var").uniform_(0.3, 2.0)
                        layer.weight.uniform_(0.5, 1.5)
                        layer.bias.uniform_(-0.3, 0.3)
                    case nn.PReLU():
                        layer.weight.fill_(slopes.pop())
        return network.eval()

    return make


@pytest.fixture(scope="session")
def narrow_specification() -> Specification:
    """104 x 320 pixels, so that rows are not taken for columns, and grey values from -1 to 1."""
    return Specification(
        input=InputSpecification(rows=104, columns=320, resize="stretch", filter="bilinear", value_range=(-1.0, 1.0)),
        classes=CLASSES,
        post_processing=PostProcessing(
            tumour_threshold=0.5, minimum_area_fraction=0.003, fill_holes=True, one_class_per_lesion=True
        ),
    )
