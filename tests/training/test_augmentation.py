"""Images and their references are changed together, within the bounds of the rules."""

import pytest
import torch
from torch import Tensor

from training.augmentation import Augmenter, Batch
from training.configuration import Augmentation

SIZE = 64


def square(batch: int = 4) -> tuple[Tensor, Tensor]:
    """A bright square off the middle, and the same square as reference of class 2."""
    images = torch.zeros(batch, 1, SIZE, SIZE)
    images[:, :, 8:24, 16:48] = 1
    return images, (images[:, 0] * 2).to(torch.uint8)


def augmented(rules: Augmentation, *, size: int = SIZE, seed: int = 0, batch: int = 4) -> tuple[Tensor, Tensor]:
    """The square after the rules."""
    changed = Augmenter(rules, torch.Generator().manual_seed(seed))(Batch(*square(batch)), size)
    return changed.images, changed.references


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
        Augmentation(frame=1.0),
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
    batch = Batch(noise, references)
    crops = Augmenter(Augmentation(crop=1.0), torch.Generator().manual_seed(1))(batch, SIZE // 2).images

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


def test_a_frame_blackens_a_border_and_what_is_marked_there() -> None:
    """Margins or the outside of a sector, never the middle; what cannot be seen is not marked."""
    white = Batch(torch.ones(64, 1, SIZE, SIZE), torch.ones(64, SIZE, SIZE, dtype=torch.uint8))
    framed = Augmenter(Augmentation(frame=0.5), torch.Generator().manual_seed(0))(white, SIZE)
    black = framed.images[:, 0] == 0
    share = black.flatten(1).float().mean(dim=1)

    assert torch.equal(black, framed.references == 0)
    assert not black[:, 28:36, 28:36].any()
    assert 0.3 < (share > 0).float().mean() < 0.7
    assert share.max() < 0.6


def test_a_blank_image_has_nothing_in_it() -> None:
    """As many as asked for become black or an even grey, and lose their references; the others keep both."""
    images, references = augmented(Augmentation(blank=0.5), batch=64)
    marked = references.flatten(1).any(dim=1)

    assert 16 < int(marked.sum()) < 48
    assert torch.allclose(square()[0][0], images[marked][0], atol=1e-4)
    assert float(images[~marked].flatten(1).std(dim=1).max()) < 0.06
    assert 8 < int((images[~marked].flatten(1).median(dim=1).values < 0.05).sum()) < 28


def test_depth_gain_tilts_the_brightness_from_top_to_bottom() -> None:
    """As a wrongly set time-gain compensation does; the middle row keeps its values."""
    grey = Batch(torch.full((8, 1, SIZE, SIZE), 0.5), torch.zeros(8, SIZE, SIZE, dtype=torch.uint8))
    rows = Augmenter(Augmentation(depth_gain=0.4), torch.Generator().manual_seed(0))(grey, SIZE).images.mean(dim=3)

    assert rows[:, 0, 31:33].mean(dim=1).tolist() == pytest.approx([0.5] * 8, abs=0.01)
    assert (rows[:, 0, 0] + rows[:, 0, -1]).tolist() == pytest.approx([1.0] * 8, abs=0.01)
    assert (rows[:, 0, 0] - 0.5).abs().max() > 0.1


def test_a_filter_changes_the_greys_of_some_images_and_keeps_dark_things_dark() -> None:
    """As another machine's processing would: contrast and mean stay about the same, and nothing moves."""
    scene = torch.rand(64, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(3)) * 0.2 + 0.5
    scene[:, :, 20:44, 20:44] -= 0.4
    batch = Batch(scene, torch.zeros(64, SIZE, SIZE, dtype=torch.uint8))
    filtered = Augmenter(Augmentation(filter=0.5), torch.Generator().manual_seed(0))(batch, SIZE).images
    changed = (filtered - scene).abs().flatten(1).amax(dim=1) > 1e-3
    inside, outside = filtered[:, 0, 24:40, 24:40].mean(dim=(1, 2)), filtered[:, 0, :16].mean(dim=(1, 2))

    assert 16 < int(changed.sum()) < 48
    assert (inside < outside).all()
    assert (filtered.mean(dim=(1, 2, 3)) - scene.mean(dim=(1, 2, 3))).abs().max() < 0.1
    assert not torch.equal(filtered[changed][0] - scene[changed][0], filtered[changed][1] - scene[changed][1])


def test_a_filter_leaves_an_even_image_even() -> None:
    """A black frame has no contrast that could be kept."""
    even = Batch(torch.full((8, 1, SIZE, SIZE), 0.3), torch.zeros(8, SIZE, SIZE, dtype=torch.uint8))
    filtered = Augmenter(Augmentation(filter=1.0), torch.Generator().manual_seed(0))(even, SIZE).images

    assert torch.allclose(even.images, filtered, atol=1e-4)


@pytest.mark.parametrize(
    "rules", [Augmentation(rotation=40), Augmentation(padding="zeros", shift=0.4, frame=1.0), Augmentation(blank=0.5)]
)
def test_a_teachers_answers_follow_the_image(rules: Augmentation) -> None:
    """They stay on the lesion, stay probabilities, and say background where there is nothing to see."""
    images, references = square(16)
    taught = torch.nn.functional.one_hot(references.long(), 3).movedim(-1, 1).half()
    batch = Augmenter(rules, torch.Generator().manual_seed(0))(Batch(images, references, taught), SIZE)

    assert batch.taught is not None
    assert torch.allclose(batch.taught.sum(dim=1), torch.ones(16, SIZE, SIZE), atol=1e-3)
    marked = batch.references == 2
    both = (batch.taught[:, 2] > 0.5) & marked
    assert both.sum() >= 0.95 * ((batch.taught[:, 2] > 0.5) | marked).sum()
