"""The training step, as Lightning wants it."""

import math
import shutil
from collections.abc import Callable, Iterable
from typing import cast

import pytorch_lightning as lightning
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from efsnet.network import LOGIT_BOUND, SegmentationNetwork
from training.augmentation import Batch
from training.batches import step_generator
from training.configuration import Configuration, Optimiser
from training.heads import Answers, Heads
from training.losses import SegmentationLoss


class Learner(lightning.LightningModule):
    """Fits a network by a configuration.

    One Lightning epoch is `steps_per_epoch` steps, not a pass over the images: batches are drawn at random.

    Args:
        network: Its weights are changed in place.
        configuration: The recipe.
        compiled: Whether to compile the network, which makes a step up to twice as fast and starts a minute later.
    """

    def __init__(self, network: SegmentationNetwork, configuration: Configuration, *, compiled: bool) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch forgot it
        self.configuration = configuration
        self.heads = Heads(configuration.loss)
        self.loss = SegmentationLoss(configuration.loss)
        self.compiled = compiled
        self.answers = answering(self.network, self.heads)
        self._answers = self.answers

    def on_fit_start(self) -> None:
        """Compiles the network; without a C++ compiler it stays as it is."""
        if self.compiled and shutil.which("g++"):
            # a function, not the module: a compiled module would enter the state under another name
            self._answers = torch.compile(self.answers, dynamic=False)

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Makes dropout a function of the step, like the batch itself."""
        del batch, batch_idx
        generator = step_generator(self.configuration.seed + 1, self.global_step, self.trainer.global_rank)
        torch.manual_seed(generator.initial_seed())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        del batch_idx
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.configuration.bfloat16):
            answers = self._answers(images)
        progress = self.global_step / self.configuration.steps
        loss = cast(Tensor, self.loss(answers.float(), batch.references, progress=progress, taught=batch.taught))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and image-wise lesion Dice of the validation part, logged."""
        del batch_idx
        images, references = batch
        answers = self.answers(images)
        loss = self.loss(answers, references.long())
        self.log("validation/loss", loss, sync_dist=True, batch_size=len(images))
        lesions = (references > 0).flatten(1)
        found = (answers.logits.argmax(dim=1) > 0).flatten(1)
        with_lesion = lesions.any(dim=1)
        dice = 2 * (lesions & found).sum(dim=1) / (lesions.sum(dim=1) + found.sum(dim=1)).clamp_min(1)
        if with_lesion.any():
            self.log(
                "validation/lesion_dice",
                dice[with_lesion].mean(),
                prog_bar=True,
                sync_dist=True,
                batch_size=int(with_lesion.sum()),
            )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam or AdamW, without weight decay where it would only shrink a scale."""
        rules = self.configuration.optimiser
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        optimiser = kinds[rules.name](
            [
                {"params": list(_decayed(self)), "weight_decay": rules.weight_decay},
                {"params": list(_not_decayed(self)), "weight_decay": 0.0},
            ],
            lr=rules.learning_rate,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_share(rules, step, self.configuration.steps)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def answering(network: SegmentationNetwork, heads: Heads) -> Callable[[Tensor], Answers]:
    """What the two say of (batch, 1, rows, columns) images, as one function that can be compiled."""

    def answers(images: Tensor) -> Answers:
        features = network.features(images)
        logits = cast(Tensor, network.predict(features[-1])).clamp(-LOGIT_BOUND, LOGIT_BOUND)
        return cast(Answers, heads(features, logits))

    return answers


def learning_rate_share(rules: Optimiser, step: int, steps: int) -> float:
    """Learning rate of a step (from 0) as a share of the highest one, in [0, 1].

    After the warm-up, `cosine` follows half a wave from 1 to `final_share` (Loshchilov and Hutter, 2017), and
    `polynomial` (1 - progress) ** power (Chen et al., DeepLab, 2017).
    """
    last = rules.schedule_steps or steps
    rising = round(rules.warm_up * last)
    if step < rising:
        return (step + 1) / rising
    progress = min((step - rising) / max(last - rising, 1), 1.0)
    if rules.schedule == "polynomial":
        return float((1 - progress) ** rules.power)
    return rules.final_share + (1 - rules.final_share) * (1 + math.cos(math.pi * progress)) / 2


def _decayed(module: nn.Module) -> Iterable[nn.Parameter]:
    return (parameter for parameter in module.parameters() if parameter.ndim > 1)


def _not_decayed(module: nn.Module) -> Iterable[nn.Parameter]:
    return (parameter for parameter in module.parameters() if parameter.ndim <= 1)
