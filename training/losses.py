"""The loss of a batch: weighted cross-entropy, Dice terms (MONAI's), and what else a configuration weighs in."""

import math

import torch
from monai.losses.dice import DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from training.configuration import Loss
from training.heads import Answers, kinds_of

LIKELIEST_SHARE = 0.01
"""Share of a normal image's pixels, the ones of highest tumour probability, that its term is the mean of."""

SMOOTHING_SHARE = 50 / 256**2
"""Share of an image's pixels added to both sides of a Dice ratio, so that small lesions are not all or nothing."""

BAND = 4 / 256
"""Half the width of the band round an outline, as a share of the image's rows."""

BOUNDARY_FROM, LESION_CLASS_FROM = 2 / 3, 0.4
"""Share of the run after which a term counts: before, there is no outline to mend and no lesion to name."""

LABEL_SMOOTHING = 0.1
"""Of the class of a whole image, which the thesis found to be overfitted first."""


class SegmentationLoss(nn.Module):
    """Sum of the terms that a `Loss` names, each times its weight.

    The lesion term merges benign and malignant: outlining a tumour comes before naming it.
    """

    class_weights: Tensor

    def __init__(self, rules: Loss) -> None:
        super().__init__()
        self.rules = rules
        self.register_buffer("class_weights", torch.tensor(rules.class_weights, dtype=torch.float32), persistent=False)

    def forward(
        self, answers: Answers, references: Tensor, *, progress: float = 1.0, taught: Tensor | None = None
    ) -> Tensor:
        """The loss.

        Args:
            answers: Of the network and its heads, in single precision.
            references: (batch, rows, columns) int64 class numbers.
            progress: Share of the run that is done, in [0, 1].
            taught: (batch, classes, rows, columns) a teacher's softened probabilities.

        Returns:
            A scalar.
        """
        rules, logits = self.rules, answers.logits
        probabilities = logits.softmax(dim=1)
        total = functional.cross_entropy(logits, references, self.class_weights)
        if rules.lesion_dice or rules.class_dice:
            total = total + self._dice(probabilities, references)
        if rules.normal_images:
            total = total + rules.normal_images * _alarm(probabilities, references)
        if rules.boundary and progress >= BOUNDARY_FROM:
            total = total + rules.boundary * _boundary(probabilities, references)
        for side, weight in zip(answers.side, filter(None, rules.deep_supervision), strict=True):
            total = total + weight * self._coarse(side, references)
        if answers.kinds is not None:
            named = functional.cross_entropy(answers.kinds, kinds_of(references), label_smoothing=LABEL_SMOOTHING)
            # times zero at first, since several processes want a gradient for every parameter
            total = total + rules.lesion_class * (progress >= LESION_CLASS_FROM) * named
        if taught is not None:
            total = total + rules.distillation * _divergence(logits, taught, rules.distillation_temperature)
        return total

    def _dice(self, probabilities: Tensor, references: Tensor) -> Tensor:
        smoothing = SMOOTHING_SHARE * references[0].numel()
        total = probabilities.new_zeros(())
        if self.rules.lesion_dice:
            lesion = DiceLoss(smooth_nr=smoothing, smooth_dr=smoothing)
            tumour = probabilities[:, 1:].sum(dim=1, keepdim=True)
            total = total + self.rules.lesion_dice * lesion(tumour, (references > 0).unsqueeze(1).float())
        if self.rules.class_dice:
            by_class = DiceLoss(include_background=False, batch=True, smooth_nr=smoothing, smooth_dr=smoothing)
            one_hot = functional.one_hot(references, probabilities.shape[1]).movedim(-1, 1).float()
            total = total + self.rules.class_dice * by_class(probabilities, one_hot)
        return total

    def _coarse(self, logits: Tensor, references: Tensor) -> Tensor:
        """Cross-entropy on the grid of a head."""
        coarse = functional.interpolate(references.unsqueeze(1).float(), logits.shape[-2:]).squeeze(1).long()
        return functional.cross_entropy(logits, coarse, self.class_weights)


def _alarm(probabilities: Tensor, references: Tensor) -> Tensor:
    """Mean tumour probability of the likeliest pixels of images without a lesion."""
    normal = (references == 0).flatten(1).all(dim=1)
    if not normal.any():
        return probabilities.new_zeros(())
    tumour = 1 - probabilities[normal, 0].flatten(1)
    likeliest = max(1, round(LIKELIEST_SHARE * tumour.shape[1]))
    return tumour.topk(likeliest, dim=1, sorted=False).values.mean()


def _boundary(probabilities: Tensor, references: Tensor) -> Tensor:
    """Mean over the band round the outlines of (1 + entropy in bits) times the cross-entropy of tumour or not."""
    lesion = (references > 0).unsqueeze(1).float()
    radius = max(1, round(BAND * lesion.shape[-2]))
    width = 2 * radius + 1
    dilated = functional.max_pool2d(lesion, width, stride=1, padding=radius)
    eroded = 1 - functional.max_pool2d(1 - lesion, width, stride=1, padding=radius)
    band = (dilated - eroded).bool()
    if not band.any():
        return probabilities.new_zeros(())
    tumour = (1 - probabilities[:, :1])[band].clamp(1e-6, 1 - 1e-6)
    unsure = tumour.detach()
    entropy = -(unsure * unsure.log() + (1 - unsure) * (1 - unsure).log()) / math.log(2)
    return ((1 + entropy) * functional.binary_cross_entropy(tumour, lesion[band], reduction="none")).mean()


def _divergence(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Mean over the pixels of T² KL(teacher || student), both softened by T (Hinton et al., 2015, section 2.1)."""
    student = functional.log_softmax(logits / temperature, dim=1)
    divergence = functional.kl_div(student, taught, reduction="none").sum(dim=1)
    return temperature**2 * divergence.mean()
