"""Heads that help a network learn and are not part of it when it is done."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from efsnet.network import DEEP, SHALLOW
from training.configuration import Loss

EMPTY = 1e-3
"""Added to the area over which features are averaged, so that no lesion at all is no division by zero."""


class Answers(NamedTuple):
    """What the network and its heads say of a batch.

    Args:
        logits: (batch, classes, rows, columns).
        side: Logits of the heads at 1/8 and 1/4 of the size, where there are such.
        kinds: (batch, classes) logits of the class of each image as a whole, where that is asked.
    """

    logits: Tensor
    side: tuple[Tensor, ...] = ()
    kinds: Tensor | None = None

    def float(self) -> "Answers":
        """The same in single precision."""
        return Answers(
            self.logits.float(),
            tuple(each.float() for each in self.side),
            None if self.kinds is None else self.kinds.float(),
        )


class Heads(nn.Module):
    """The heads that a loss asks for, on the features at 1/8 and 1/4.

    Args:
        rules: A weight of 0 leaves its head out.
        classes: Of the network.
    """

    def __init__(self, rules: Loss, classes: int = 3) -> None:
        super().__init__()
        eighth, quarter = rules.deep_supervision
        self.eighth = nn.Conv2d(DEEP, classes, 1) if eighth else None
        self.quarter = nn.Conv2d(SHALLOW, classes, 1) if quarter else None
        self.kind = nn.Linear(DEEP, classes) if rules.lesion_class else None

    @property
    def any(self) -> bool:
        """Whether there is a head at all."""
        return any(True for _ in self.parameters())

    def forward(self, features: tuple[Tensor, ...], logits: Tensor) -> Answers:
        """All answers, from what `SegmentationNetwork.features` gave and what the network made of it."""
        if not self.any:
            return Answers(logits)
        context, quarter = features[0], features[1]
        side = [head(of) for head, of in ((self.eighth, context), (self.quarter, quarter)) if head is not None]
        return Answers(logits, tuple(side), self._kinds(context, logits) if self.kind is not None else None)

    def _kinds(self, context: Tensor, logits: Tensor) -> Tensor:
        """From the deepest features, averaged where the network sees a lesion."""
        tumour = 1 - logits.detach().softmax(dim=1)[:, :1]
        weights = functional.interpolate(tumour, context.shape[-2:], mode="area")
        pooled = (context * weights).sum(dim=(2, 3)) / (weights.sum(dim=(2, 3)) + EMPTY)
        return cast(Tensor, cast(nn.Module, self.kind)(pooled))


def kinds_of(references: Tensor) -> Tensor:
    """(batch,) class of each image as a whole: the highest of its (batch, rows, columns) class numbers."""
    return torch.amax(references, dim=(1, 2))
