"""A batch is a function of the seed and the step."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.augmentation import Batch
from training.batches import Batches, Samples, Share, drawing_weights, read_samples
from training.configuration import Augmentation, Configuration, Sampling
from training.datasets.busi import read_busi
from training.specification import input_specification

MakeBusi = Callable[[Sequence[tuple[str, int]]], Path]


@pytest.fixture
def samples() -> Samples:
    """Sixty images of noise, two in three of them benign."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.tensor([0] * 10 + [1] * 40 + [2] * 10)
    return Samples(
        images=torch.randint(0, 256, (60, 1, 64, 64), generator=generator, dtype=torch.uint8),
        references=kinds.to(torch.uint8)[:, None, None].expand(60, 64, 64).contiguous(),
        kinds=kinds,
        sets=("BUSI",) * 60,
    )


def drawn_batches(samples: Samples, configuration: Configuration, steps: range) -> list[Batch]:
    """All batches of one process."""
    batches = Batches(samples, configuration, steps, Share())
    return [batches[index] for index in range(len(batches))]


def test_a_batch_does_not_depend_on_the_ones_before(samples: Samples, tiny_configuration: Configuration) -> None:
    """A run resumed at step 3 sees the batch that it would have seen."""
    whole = drawn_batches(samples, tiny_configuration, range(6))
    resumed = drawn_batches(samples, tiny_configuration, range(3, 6))

    assert 3 == len(resumed)
    for (images, references, _), (expected_images, expected_references, _) in zip(resumed, whole[3:], strict=True):
        assert torch.equal(expected_images, images)
        assert torch.equal(expected_references, references)


def test_batches_differ_from_step_to_step_and_from_process_to_process(
    samples: Samples, tiny_configuration: Configuration
) -> None:
    """Two processes never train on the same half batch."""
    first, second = (Batches(samples, tiny_configuration, range(2), Share(rank, 2)) for rank in (0, 1))

    assert (2, 1, 32, 32) == first[0][0].shape
    assert not torch.equal(first[0][0], first[1][0])
    assert not torch.equal(first[0][0], second[0][0])


def test_kinds_are_drawn_by_their_shares(samples: Samples, tiny_configuration: Configuration) -> None:
    """A rare kind is seen as often as the recipe says, not as often as it is in the data."""
    shares = Sampling(normal=0.5, benign=0.25, malignant=0.25)
    configuration = tiny_configuration.model_copy(update={"sampling": shares, "augmentation": Augmentation()})
    drawn = torch.cat([batch.references[:, 16, 16] for batch in drawn_batches(samples, configuration, range(200))])

    observed = torch.bincount(drawn, minlength=3) / len(drawn)
    assert observed.tolist() == pytest.approx([0.5, 0.25, 0.25], abs=0.06)


def test_without_shares_every_image_is_as_likely(samples: Samples, tiny_configuration: Configuration) -> None:
    """The thesis draws from the data as they are."""
    configuration = tiny_configuration.model_copy(update={"sampling": None, "augmentation": Augmentation()})
    drawn = torch.cat([batch.references[:, 16, 16] for batch in drawn_batches(samples, configuration, range(200))])

    observed = torch.bincount(drawn, minlength=3) / len(drawn)
    assert observed.tolist() == pytest.approx([1 / 6, 4 / 6, 1 / 6], abs=0.06)


def test_sets_are_mixed_by_their_weights(samples: Samples, tiny_configuration: Configuration) -> None:
    """Among the sets that have a kind: one without normal images takes none of their share."""
    mixed = replace(samples, sets=("BUSI",) * 20 + ("other",) * 40)
    shares = Sampling(normal=0.2, benign=0.4, malignant=0.4)
    configuration = tiny_configuration.model_copy(update={"sampling": shares, "mix": {"BUSI": 3.0, "other": 1.0}})
    weights = drawing_weights(mixed, configuration)

    # ten normal images in BUSI; ten benign there and thirty in the other; ten malignant in the other
    assert torch.allclose(torch.tensor([0.02] * 10 + [0.03] * 10 + [0.1 / 30] * 30 + [0.04] * 10), weights)


def test_without_a_mix_sets_are_drawn_image_by_image(samples: Samples, tiny_configuration: Configuration) -> None:
    """The larger set is seen more often, by the very weights of before there were mixes: resumed runs draw the same."""
    alike = tiny_configuration.model_copy(update={"sampling": None})
    shares = Sampling(normal=0.25, benign=0.4, malignant=0.35)
    by_kind = tiny_configuration.model_copy(update={"sampling": shares})

    assert torch.equal(torch.ones(60), drawing_weights(samples, alike))
    expected = torch.tensor([0.25 / 10] * 10 + [0.4 / 40] * 40 + [0.35 / 10] * 10)
    assert torch.equal(expected, drawing_weights(samples, by_kind))


def test_records_are_read_through_the_products_preprocessing(make_busi: MakeBusi) -> None:
    """Images at the specified size, references with the number of their class."""
    records = read_busi(make_busi([("benign", 2), ("malignant", 1), ("normal", 1)]))
    read = read_samples(records, input_specification(32))

    assert (4, 1, 32, 32) == read.images.shape
    assert (4, 32, 32) == read.references.shape
    assert [1, 1, 2, 0] == read.kinds.tolist() == read.references.flatten(1).max(dim=1).values.tolist()
