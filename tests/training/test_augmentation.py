"""Images and their references are changed together, within the bounds of the rules."""

import pytest
import torch
from torch import Tensor

from training.augmentation import Augmenter
from training.configuration import Augmentation

SIZE = 64


def square(batch: int = 4) -> tuple[Tensor, Tensor]:
    """A bright square off the middle, and the same square as reference of class 2."""
    images = torch.zeros(batch, 1, SIZE, SIZE)
    images[:, :, 8:24, 16:48] = 1
    return images, (images[:, 0] * 2).to(torch.uint8)


def augmented(rules: Augmentation, *, size: int = SIZE, seed: int = 0, batch: int = 4) -> tuple[Tensor, Tensor]:
    """The square after the rules."""
    images, references = square(batch)
    return Augmenter(rules, torch.Generator().manual_seed(seed))(images, references, size)


def test_without_rules_nothing_changes() -> None:
    """The defaults of every rule are to leave the image alone."""
    images, references = augmented(Augmentation())

    assert torch.allclose(square()[0], images, atol=1e-4)
    assert torch.equal(square()[1].long(), references)


@pytest.mark.parametrize(
    "rules",
    [
        Augmentation(rotation=30),
        Augmentation(zoom=(0.7, 1.4)),
        Augmentation(aspect=1.5),
        Augmentation(shift=0.1),
        Augmentation(flip_columns=0.5, flip_rows=0.5),
        Augmentation(crop=1.0),
        Augmentation(rotation=180, padding="zeros"),
    ],
    ids=str,
)
def test_a_reference_stays_on_its_lesion(rules: Augmentation) -> None:
    """Whatever the map, the square of the image and that of the reference overlap but for interpolated sides."""
    images, references = augmented(rules, batch=16)
    bright, marked = images[:, 0] > 0.5, references == 2

    assert set(references.flatten().tolist()) <= {0, 2}
    assert (bright & marked).sum() >= 0.97 * (bright | marked).sum()


def test_a_flip_of_columns_is_left_for_right() -> None:
    """And rows stay: shadows point down."""
    images, _ = augmented(Augmentation(flip_columns=1.0))

    assert torch.allclose(square()[0].flip(3), images, atol=1e-4)


def test_a_crop_shows_a_quarter_of_the_image_at_full_resolution() -> None:
    """Half the rows and half the columns: a crop of half the size has the image's own pixels."""
    noise = torch.rand(8, 1, SIZE, SIZE)
    references = torch.zeros(8, SIZE, SIZE, dtype=torch.uint8)
    crops, _ = Augmenter(Augmentation(crop=1.0), torch.Generator().manual_seed(1))(noise, references, SIZE // 2)

    assert (8, 1, SIZE // 2, SIZE // 2) == crops.shape
    # shown whole at that size, four pixels of noise would be averaged into each
    assert crops.var() > 0.4 * noise.var()


def test_the_answer_has_the_asked_size() -> None:
    """A phase may see images smaller than the source."""
    images, references = augmented(Augmentation(rotation=10), size=32)

    assert (4, 1, 32, 32) == images.shape
    assert (4, 32, 32) == references.shape


def test_grey_values_stay_between_0_and_1_and_geometry_is_left_alone() -> None:
    """Grey rules never move a lesion."""
    rules = Augmentation(brightness=0.5, contrast=0.5, gamma=(0.5, 2.0), noise=0.2, speckle=0.3, blur=2.0)
    images, references = augmented(rules)

    assert images.min() >= 0
    assert images.max() <= 1
    assert not torch.equal(square()[0], images)
    assert torch.equal(square()[1].long(), references)


def test_blur_keeps_the_mean_and_smooths_sides() -> None:
    """A Gaussian's weights add up to one."""
    images, _ = augmented(Augmentation(blur=8.0))

    assert images.mean().item() == pytest.approx(square()[0].mean().item(), abs=0.01)
    assert ((images > 0.01) & (images < 0.99)).any()


def test_the_same_generator_gives_the_same_changes() -> None:
    """So that a resumed run sees what it would have seen."""
    rules = Augmentation(rotation=30, zoom=(0.7, 1.4), noise=0.1, blur=1.0)

    assert torch.equal(augmented(rules, seed=5)[0], augmented(rules, seed=5)[0])
    assert not torch.equal(augmented(rules, seed=5)[0], augmented(rules, seed=6)[0])
