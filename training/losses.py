"""The loss of a batch: weighted cross-entropy, Dice terms (MONAI's), and a term for normal images."""

import torch
from monai.losses.dice import DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from training.configuration import Loss

LIKELIEST_SHARE = 0.01
"""Share of a normal image's pixels, the ones of highest tumour probability, that its term is the mean of."""

SMOOTHING_SHARE = 50 / 256**2
"""Share of an image's pixels added to both sides of a Dice ratio, so that small lesions are not all or nothing."""


class SegmentationLoss(nn.Module):
    """Sum of the terms that a `Loss` names, each times its weight.

    The lesion term merges benign and malignant: outlining a tumour comes before naming it.
    """

    class_weights: Tensor

    def __init__(self, rules: Loss) -> None:
        super().__init__()
        self.rules = rules
        self.register_buffer("class_weights", torch.tensor(rules.class_weights, dtype=torch.float32), persistent=False)

    def forward(self, logits: Tensor, references: Tensor) -> Tensor:
        """The loss.

        Args:
            logits: (batch, classes, rows, columns) float.
            references: (batch, rows, columns) int64 class numbers.

        Returns:
            A scalar.
        """
        total = functional.cross_entropy(logits, references, self.class_weights)
        probabilities = logits.softmax(dim=1)
        smoothing = SMOOTHING_SHARE * references[0].numel()
        if self.rules.lesion_dice:
            lesion = DiceLoss(smooth_nr=smoothing, smooth_dr=smoothing)
            tumour = probabilities[:, 1:].sum(dim=1, keepdim=True)
            total = total + self.rules.lesion_dice * lesion(tumour, (references > 0).unsqueeze(1).float())
        if self.rules.class_dice:
            by_class = DiceLoss(include_background=False, batch=True, smooth_nr=smoothing, smooth_dr=smoothing)
            one_hot = functional.one_hot(references, logits.shape[1]).movedim(-1, 1).float()
            total = total + self.rules.class_dice * by_class(probabilities, one_hot)
        if self.rules.normal_images:
            total = total + self.rules.normal_images * self._alarm(probabilities, references)
        return total

    @staticmethod
    def _alarm(probabilities: Tensor, references: Tensor) -> Tensor:
        normal = (references == 0).flatten(1).all(dim=1)
        if not normal.any():
            return probabilities.new_zeros(())
        tumour = 1 - probabilities[normal, 0].flatten(1)
        likeliest = max(1, round(LIKELIEST_SHARE * tumour.shape[1]))
        return tumour.topk(likeliest, dim=1, sorted=False).values.mean()
