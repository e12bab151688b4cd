"""The loss has known values where they are known, and each term pulls the way it is meant to."""

import math

import pytest
import torch
from torch import Tensor

from training.configuration import Loss
from training.heads import Answers
from training.losses import SegmentationLoss

SIZE = 32


def logits_of(references: Tensor, certainty: float) -> Tensor:
    """Logits that favour the reference by `certainty`."""
    return certainty * torch.nn.functional.one_hot(references, 3).movedim(-1, 1).float()


def answer(references: Tensor, certainty: float = 50.0) -> Answers:
    """A network that has no heads."""
    return Answers(logits_of(references, certainty))


@pytest.fixture
def references() -> Tensor:
    """A benign, a malignant and a normal image."""
    numbers = torch.zeros(3, SIZE, SIZE, dtype=torch.long)
    numbers[0, 4:20, 4:20] = 1
    numbers[1, 10:30, 10:30] = 2
    return numbers


ALL = Loss(class_weights=(1, 2, 2), lesion_dice=1.0, class_dice=0.5, normal_images=0.1, boundary=0.2)
PLAIN = Loss(class_weights=(1, 1, 1))


def test_a_certain_right_answer_costs_nothing(references: Tensor) -> None:
    """All terms are zero at their best."""
    assert SegmentationLoss(ALL)(answer(references), references).item() == pytest.approx(0, abs=1e-4)


def test_ignorance_costs_the_logarithm_of_the_classes(references: Tensor) -> None:
    """The cross-entropy of equal probabilities is ln 3, whatever the weights."""
    loss = SegmentationLoss(Loss(class_weights=(1, 5, 5)))

    assert loss(Answers(torch.zeros(3, 3, SIZE, SIZE)), references).item() == pytest.approx(math.log(3))


def test_weights_weigh_pixels_by_their_class(references: Tensor) -> None:
    """A missed lesion pixel costs five times a false one."""
    loss = SegmentationLoss(Loss(class_weights=(1, 5, 5)))
    pixel = torch.zeros(1, 1, 1, dtype=torch.long)
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 0, 0, 1] = 2.0
    both = torch.cat([pixel, pixel + 1], dim=2)
    background, lesion = (-logits[0, :, 0, i].log_softmax(0)[i] for i in range(2))

    assert loss(Answers(logits), both).item() == pytest.approx((background.item() + 5 * lesion.item()) / 6)


def test_the_lesion_term_does_not_ask_for_the_type(references: Tensor) -> None:
    """A benign lesion called malignant is outlined all the same."""
    swapped = references.clone()
    swapped[references == 1], swapped[references == 2] = 2, 1
    plain, lesion, by_class = (
        SegmentationLoss(Loss(class_weights=(1, 1, 1), **terms))(answer(swapped), references).item()
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
        answers = answer(predicted)
        return float(SegmentationLoss(normal_only)(answers, references) - SegmentationLoss(base)(answers, references))

    assert term(references) == pytest.approx(0, abs=1e-4)
    assert term(alarmed) == pytest.approx(1, abs=1e-3)


def test_a_batch_without_normal_images_has_no_such_term(references: Tensor) -> None:
    """Nothing is divided by zero."""
    terms = Loss(class_weights=(1, 1, 1), normal_images=1.0)
    loss = SegmentationLoss(terms)(answer(references[:2]), references[:2])

    assert loss.item() == pytest.approx(0, abs=1e-4)


def test_every_term_has_a_gradient(references: Tensor) -> None:
    """A step of descent lowers the loss."""
    logits = torch.zeros(3, 3, SIZE, SIZE, requires_grad=True)
    loss = SegmentationLoss(ALL)
    before = loss(Answers(logits), references)
    before.backward()
    after = loss(Answers(logits - 100 * logits.grad), references)  # type: ignore[operator]

    assert after < before


def test_the_boundary_term_sees_the_band_round_the_outline_alone(references: Tensor) -> None:
    """A lesion drawn two pixels too large costs; a false one far from any outline does not; nothing before its time."""
    term = Loss(class_weights=(1, 1, 1), boundary=1.0)
    larger, far = references.clone(), references.clone()
    larger[0, 4:22, 4:22] = 1
    far[2, :8, :8] = 1

    def cost(predicted: Tensor, progress: float) -> float:
        loss = SegmentationLoss(term)(answer(predicted), references, progress=progress)
        return float(loss - SegmentationLoss(PLAIN)(answer(predicted), references))

    assert cost(references, 1.0) == pytest.approx(0, abs=1e-4)
    assert cost(larger, 1.0) > 0.3
    assert cost(far, 1.0) == pytest.approx(0, abs=1e-4)
    assert cost(larger, 0.5) == pytest.approx(0, abs=1e-6)


def test_heads_are_asked_for_the_reference_on_their_own_grid(references: Tensor) -> None:
    """Ignorant heads cost ln 3 times their weights."""
    term = Loss(class_weights=(1, 1, 1), deep_supervision=(0.4, 0.2))
    answers = answer(references)._replace(side=(torch.zeros(3, 3, 4, 4), torch.zeros(3, 3, 8, 8)))

    assert SegmentationLoss(term)(answers, references).item() == pytest.approx(0.6 * math.log(3), abs=1e-4)


def test_the_class_of_an_image_is_asked_for_late(references: Tensor) -> None:
    """It is the class of its lesion; in the first 40 % of the run it costs nothing."""
    term = SegmentationLoss(Loss(class_weights=(1, 1, 1), lesion_class=1.0))
    right = answer(references)._replace(kinds=logits_of(torch.tensor([1, 2, 0])[:, None, None], 3.0)[:, :, 0, 0])
    wrong = right._replace(kinds=right.kinds.roll(1, dims=1))  # type: ignore[union-attr]

    assert term(right, references).item() < term(wrong, references).item() - 1
    assert term(wrong, references, progress=0.3).item() == pytest.approx(0, abs=1e-4)


def test_a_pupil_that_answers_as_its_teacher_has_nothing_to_learn(references: Tensor) -> None:
    """The divergence is zero for equal softened probabilities, and T² KL for others."""
    rules = Loss(class_weights=(1, 1, 1), distillation=1.0, distillation_temperature=2.0)
    logits = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    same, flat = (logits / 2).softmax(dim=1), torch.full_like(logits, 1 / 3)
    plain = SegmentationLoss(PLAIN)(Answers(logits), references)

    def divergence(taught: Tensor) -> float:
        return float(SegmentationLoss(rules)(Answers(logits), references, taught=taught) - plain)

    expected = 4 * (flat * (flat.log() - same.log())).sum(dim=1).mean()
    assert divergence(same) == pytest.approx(0, abs=1e-5)
    assert divergence(flat) == pytest.approx(expected.item(), rel=1e-4)
