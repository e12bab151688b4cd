import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from efsnet.errors import ImageSizeUnsupported
from efsnet.network import LOGIT_BOUND, EFSNet

PARAMETERS = {
    "initial": 166,
    "down1": 5_699,
    "factorized": 15_244,
    "down2": 30_339,
    "csdc": 109_584,
    "up1": 12_418,
    "shuffle1": 3_232,
    "up2": 1_314,
    "shuffle2": 456,
    "predict": 435,
}
"""Of each stage: the table of the thesis, but for the two swapped digits in its 109,548."""

# On pictures this small, threads wait for each other longer than they work.
torch.set_num_threads(1)


def parameters(module: nn.Module) -> int:
    """How many numbers are trained in it."""
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("stage", "expected"), PARAMETERS.items())
def test_stage_has_the_parameters_of_the_thesis(stage: str, expected: int) -> None:
    """Each stage has as many parameters as the thesis' table says."""
    assert expected == parameters(EFSNet().get_submodule(stage))


def test_stages_are_the_whole_network() -> None:
    """No parameter lies outside the ten stages, and all are trained."""
    network = EFSNet()
    assert list(PARAMETERS) == [name for name, _ in network.named_children()]
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("in_channels", "classes", "expected"), [(1, 3, 178_887), (3, 3, 179_099), (1, 2, 178_742), (3, 19, 181_419)]
)
def test_network_has_the_known_number_of_parameters(in_channels: int, classes: int, expected: int) -> None:
    """Image channels and classes change the count of parameters by what their layers need."""
    assert expected == parameters(EFSNet(in_channels, classes))


@pytest.mark.parametrize(("rows", "columns"), [(256, 256), (512, 512), (104, 320), (8, 8)])
@torch.inference_mode()
def test_logits_have_the_size_of_the_image(rows: int, columns: int) -> None:
    """Any rows and columns that are multiples of 8 give logits on the same grid."""
    assert EFSNet().eval()(torch.zeros(1, 1, rows, columns)).shape == (1, 3, rows, columns)


@pytest.mark.parametrize(("rows", "columns"), [(250, 250), (100, 104), (104, 100), (254, 256), (512, 516), (4, 8)])
def test_sizes_that_are_no_multiples_of_8_are_refused(rows: int, columns: int) -> None:
    """Such an image would come back smaller, or fail deep inside."""
    with pytest.raises(ImageSizeUnsupported, match=f"got {rows} x {columns}"):
        EFSNet()(torch.zeros(1, 1, rows, columns))


def test_convolutions_at_512_take_the_known_operations() -> None:
    """A 512x512 image takes 1,059,520,512 multiply-accumulates, four times a 256x256 one."""
    assert operations(512) == 1_059_520_512
    assert operations(256) == 264_880_128


@torch.inference_mode()
def operations(side: int) -> int:
    """Multiply-accumulates of all convolutions; the counter counts both halves of each."""
    with FlopCounterMode(display=False) as counter:
        EFSNet().eval()(torch.zeros(1, 1, side, side))
    return int(counter.get_total_flops()) // 2


@torch.inference_mode()
def test_only_forward_clamps_the_logits() -> None:
    """Exploded logits are cut to the bound by `forward`, and are left to `unclamped`."""
    network = EFSNet().eval()
    network.get_parameter("predict.bias").copy_(torch.tensor([-50.0, 0.0, 50.0]))
    image = torch.rand(1, 1, 64, 64)
    logits = network.unclamped(image)
    assert logits.abs().max() > LOGIT_BOUND
    assert torch.equal(logits.clamp(-LOGIT_BOUND, LOGIT_BOUND), network(image))


def test_network_learns_eight_images_by_heart() -> None:
    """120 steps take the loss on eight discs from 1.2 to under 0.02, and the IoU of each class above 0.97."""
    torch.manual_seed(0)
    images, references = discs(8, 64)
    network = EFSNet(dropout=0.0)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(120):
        loss = cross_entropy(network(images), references)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
        optimiser.step()
        losses.append(loss.item())
    found = network(images).argmax(dim=1)
    assert losses[0] > 1.0
    assert losses[-1] < 0.02
    for number in range(3):
        of_class, of_reference = found == number, references == number
        assert (of_class & of_reference).sum() / (of_class | of_reference).sum() > 0.97


def discs(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Noisy images, each with a grey benign and a bright malignant disc: (n, 1, side, side), (n, side, side)."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    references = torch.zeros(count, side, side, dtype=torch.long)
    for reference in references:
        for number in (1, 2):
            row, column = torch.randint(14, side - 14, (2,))
            reference[(rows - row) ** 2 + (columns - column) ** 2 < 12**2] = number
    images = torch.tensor([0.2, 0.5, 0.8])[references] + 0.05 * torch.randn(count, side, side)
    return images.unsqueeze(1), references
