"""The networks that can be trained: EFSNet, and those it is compared with."""

from efsnet.network import EFSNet, SegmentationNetwork
from training.networks.enet import ENet
from training.networks.fssnet import FSSNet
from training.networks.unet import UNet

NETWORKS: dict[str, type[EFSNet | FSSNet | ENet | UNet]] = {
    "efsnet": EFSNet,
    "fssnet": FSSNet,
    "enet": ENet,
    "unet": UNet,
}
"""By the name that configurations give them."""


def build(name: str, dropout: float = 0.0) -> SegmentationNetwork:
    """A network of one input channel and three classes, by its name in NETWORKS, with random weights."""
    return NETWORKS[name](dropout=dropout)


def name_of(network: SegmentationNetwork) -> str:
    """What it is called in a manifest, as `EFSNet`."""
    return type(network).__name__
