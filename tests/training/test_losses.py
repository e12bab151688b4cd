"""The loss has known values where they are known, and each term pulls the way it is meant to."""

import math

import pytest
import torch
from torch import Tensor

from training.configuration import Loss
from training.losses import SegmentationLoss

SIZE = 32


def logits_of(references: Tensor, certainty: float) -> Tensor:
    """Logits that favour the reference by `certainty`."""
    return certainty * torch.nn.functional.one_hot(references, 3).movedim(-1, 1).float()


@pytest.fixture
def references() -> Tensor:
    """A benign, a malignant and a normal image."""
    numbers = torch.zeros(3, SIZE, SIZE, dtype=torch.long)
    numbers[0, 4:20, 4:20] = 1
    numbers[1, 10:30, 10:30] = 2
    return numbers


ALL = Loss(class_weights=(1, 2, 2), lesion_dice=1.0, class_dice=0.5, normal_images=0.1)


def test_a_certain_right_answer_costs_nothing(references: Tensor) -> None:
    """All terms are zero at their best."""
    assert SegmentationLoss(ALL)(logits_of(references, 50.0), references).item() == pytest.approx(0, abs=1e-4)


def test_ignorance_costs_the_logarithm_of_the_classes(references: Tensor) -> None:
    """The cross-entropy of equal probabilities is ln 3, whatever the weights."""
    loss = SegmentationLoss(Loss(class_weights=(1, 5, 5)))

    assert loss(torch.zeros(3, 3, SIZE, SIZE), references).item() == pytest.approx(math.log(3))


def test_weights_weigh_pixels_by_their_class(references: Tensor) -> None:
    """A missed lesion pixel costs five times a false one."""
    loss = SegmentationLoss(Loss(class_weights=(1, 5, 5)))
    pixel = torch.zeros(1, 1, 1, dtype=torch.long)
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 0, 0, 1] = 2.0
    both = torch.cat([pixel, pixel + 1], dim=2)
    background, lesion = (-logits[0, :, 0, i].log_softmax(0)[i] for i in range(2))

    assert loss(logits, both).item() == pytest.approx((background.item() + 5 * lesion.item()) / 6)


def test_the_lesion_term_does_not_ask_for_the_type(references: Tensor) -> None:
    """A benign lesion called malignant is outlined all the same."""
    swapped = references.clone()
    swapped[references == 1], swapped[references == 2] = 2, 1
    plain, lesion, by_class = (
        SegmentationLoss(Loss(class_weights=(1, 1, 1), **terms))(logits_of(swapped, 50.0), references).item()
        for terms in ({}, {"lesion_dice": 1.0}, {"class_dice": 1.0})
    )

    assert lesion == pytest.approx(plain, abs=1e-4)
    assert by_class > plain + 0.5


def test_an_alarm_on_a_normal_image_costs(references: Tensor) -> None:
    """The term for normal images grows with a false lesion there, and is blind to lesions elsewhere."""
    normal_only = Loss(class_weights=(1, 1, 1), normal_images=1.0)
    base = Loss(class_weights=(1, 1, 1))
    alarmed = references.clone()
    alarmed[2, :8, :8] = 1

    def term(predicted: Tensor) -> float:
        logits = logits_of(predicted, 50.0)
        return float(SegmentationLoss(normal_only)(logits, references) - SegmentationLoss(base)(logits, references))

    assert term(references) == pytest.approx(0, abs=1e-4)
    assert term(alarmed) == pytest.approx(1, abs=1e-3)


def test_a_batch_without_normal_images_has_no_such_term(references: Tensor) -> None:
    """Nothing is divided by zero."""
    terms = Loss(class_weights=(1, 1, 1), normal_images=1.0)
    loss = SegmentationLoss(terms)(logits_of(references[:2], 50.0), references[:2])

    assert loss.item() == pytest.approx(0, abs=1e-4)


def test_every_term_has_a_gradient(references: Tensor) -> None:
    """A step of descent lowers the loss."""
    logits = torch.zeros(3, 3, SIZE, SIZE, requires_grad=True)
    loss = SegmentationLoss(ALL)
    before = loss(logits, references)
    before.backward()
    after = loss(logits - 100 * logits.grad, references)  # type: ignore[operator]

    assert after < before
