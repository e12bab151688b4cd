"""A finished run as the teacher of another: what it says of each training image, softened."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from efsnet.network import SegmentationNetwork
from training.datasets.folds import Split
from training.errors import RunUnusable

BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """A trained network and the size at which it works.

    Args:
        path: Where it comes from.
        network: In eval mode.
        side: Rows and columns of its input.
        split: What it learnt from and was tested on.
    """

    path: Path
    network: SegmentationNetwork
    side: int
    split: Split

    def check(self, split: Split) -> None:
        """Makes sure that the teacher has not seen what its pupil is to be tested on.

        Raises:
            RunUnusable: a group of images of the pupil's validation or test part is in the teacher's training part.
        """
        seen = {record.group for record in self.split.train}
        told = sorted({record.group for record in (*split.validation, *split.test)} & seen)
        if told:
            raise RunUnusable(
                f"{self.path} learnt from {len(told)} groups of images on which the new run is chosen or tested, "
                f"first {told[0]}: a teacher is trained on the same split."
            )

    @torch.inference_mode()
    def answers(self, images: Tensor, temperature: float) -> Tensor:
        """Probabilities of each image and its mirror image, averaged, with logits divided by the temperature.

        Args:
            images: (n, 1, rows, columns) uint8.
            temperature: Above 1 softens.

        Returns:
            (n, classes, side, side) float16.
        """
        answers = []
        for batch in torch.split(images, BATCH):
            resized = functional.interpolate(batch.float() / 255, (self.side, self.side), mode="area")
            logits = self.network(resized) + self.network(resized.flip(3)).flip(3)
            answers.append((logits / (2 * temperature)).softmax(dim=1).half())
        return torch.cat(answers)
