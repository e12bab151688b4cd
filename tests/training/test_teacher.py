"""A teacher answers softly, for both sides of a mirror, and has never seen what its pupil is tested on."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from efsnet.network import SegmentationNetwork
from training.datasets.folds import Split
from training.datasets.records import Record
from training.errors import RunUnusable
from training.teacher import Teacher


class Left(SegmentationNetwork):
    """Is sure of class 1 on the left half of whatever it sees."""

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.zeros(len(image), 3, *image.shape[-2:])
        logits[:, 1, :, : image.shape[-1] // 2] = 8.0
        return logits


def record(scene: str) -> Record:
    """Of a scene."""
    return Record(f"{scene}.png", Path(), (), "benign", scene=scene)


def teacher(*learnt: str) -> Teacher:
    """That learnt from these scenes."""
    return Teacher(Path("run"), Left(), 16, Split(tuple(map(record, learnt)), (), (), ()))


def test_answers_are_softened_probabilities_at_the_teachers_own_size() -> None:
    """Of the image and its mirror image together, so that what it knows of a side alone counts half."""
    images = torch.zeros(10, 1, 64, 64, dtype=torch.uint8)
    answers = teacher().answers(images, temperature=2.0).float()

    # logits 8 and 0 of the two sides give 4 on each, softened to 2
    expected = torch.tensor([0.0, 2.0, 0.0]).softmax(dim=0)
    assert (10, 3, 16, 16) == answers.shape
    assert torch.allclose(expected.view(1, 3, 1, 1).expand_as(answers), answers, atol=1e-3)


def test_a_teacher_of_another_split_is_refused() -> None:
    """What it has learnt of a tested scene would be handed on; validation scenes choose, so they count too."""
    pupil = Split((record("a"),), (record("b"),), (record("c"),), ())

    teacher("a").check(pupil)
    for scene in ("b", "c"):
        with pytest.raises(RunUnusable, match=f"first BUSI/{scene}"):
            teacher("a", scene).check(pupil)
