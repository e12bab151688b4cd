"""Images in memory, and the batch of each step as a function of the seed and the step alone.

Nothing is carried from step to step, so a run that is resumed at a step sees what it would have seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pytorch_lightning as lightning
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from efsnet.preprocessing import to_input
from efsnet.specification import InputSpecification
from training.augmentation import Augmenter, Batch
from training.configuration import Configuration
from training.datasets.records import CLASS_NUMBERS, Record

VALIDATION_BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Images of one size in memory.

    Args:
        images: (n, 1, rows, columns) uint8.
        references: (n, rows, columns) uint8 class numbers.
        kinds: (n,) int64 class number of each image as a whole.
        sets: Name of the data set of each of the n images.
        taught: (n, classes, rows, columns) float16, a teacher's softened probabilities on a grid of its own.
    """

    images: Tensor
    references: Tensor
    kinds: Tensor
    sets: tuple[str, ...]
    taught: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)


def read_samples(records: Sequence[Record], specification: InputSpecification) -> Samples:
    """Reads records through the product's own preprocessing; references are resized to the nearest pixel."""
    size = (specification.columns, specification.rows)
    images, references = [], []
    for record in records:
        images.append(to_input(record.read_image(), specification))
        reference = PillowImage.fromarray(record.read_reference())
        references.append(np.asarray(reference.resize(size, PillowImage.Resampling.NEAREST)))
    return Samples(
        images=torch.from_numpy(np.stack(images)),
        references=torch.from_numpy(np.stack(references)),
        kinds=torch.tensor([CLASS_NUMBERS[record.kind] for record in records]),
        sets=tuple(record.dataset for record in records),
    )


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several processes has to do of a batch: `rank` counts from 0."""

    rank: int = 0
    processes: int = 1


class Parts(lightning.LightningDataModule):
    """Training and validation samples as Lightning asks for them, epoch by epoch.

    Args:
        configuration: The recipe.
        train: Samples of the training part, at the source size.
        validation: Samples of the validation part, at the source size, if there is one.
    """

    def __init__(self, configuration: Configuration, train: Samples, validation: Samples | None) -> None:
        super().__init__()
        self.configuration = configuration
        self.train = train
        self.validation = validation

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches up to the next whole epoch.

        The steps taken decide which, not Lightning's count of epochs: it calls an epoch whose checkpoint it is
        resumed from unfinished, and asks for one batch more of it.
        """
        trainer = cast(lightning.Trainer, self.trainer)
        length = self.configuration.steps_per_epoch
        steps = range(trainer.global_step, (trainer.global_step // length + 1) * length)
        share = Share(trainer.global_rank, trainer.world_size)
        return DataLoader(Batches(self.train, self.configuration, steps, share), batch_size=None)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]] | list[object]:
        """The validation part at the size of the current phase."""
        if self.validation is None:
            return []
        size = self.configuration.phase_at(cast(lightning.Trainer, self.trainer).global_step).size
        images = functional.interpolate(self.validation.images.float() / 255, (size, size), mode="area")
        references = functional.interpolate(self.validation.references.unsqueeze(1), (size, size)).squeeze(1)
        return DataLoader(TensorDataset(images, references), batch_size=VALIDATION_BATCH)


class Batches(Dataset[Batch]):
    """Augmented batches, one an item, of a range of steps.

    Args:
        samples: What is drawn from.
        configuration: The recipe.
        steps: Which steps, counted from 0 over the whole run.
        share: Which part of each batch.
    """

    def __init__(self, samples: Samples, configuration: Configuration, steps: range, share: Share) -> None:
        self.samples = samples
        self.weights = drawing_weights(samples, configuration)
        self.configuration = configuration
        self.steps = steps
        self.share = share

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Batch:
        step = self.steps[index]
        phase = self.configuration.phase_at(step)
        generator = step_generator(self.configuration.seed, step, self.share.rank)
        count = phase.batch // self.share.processes
        drawn = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        batch = Batch(
            self.samples.images[drawn].float() / 255,
            self.samples.references[drawn],
            None if self.samples.taught is None else self.samples.taught[drawn],
        )
        return Augmenter(self.configuration.augmentation, generator)(batch, phase.size)


def drawing_weights(samples: Samples, configuration: Configuration) -> Tensor:
    """(n,) how often each sample is drawn: kinds by their shares, and of each kind the data sets by theirs.

    Without a mix these are the weights of before there were mixes, to the last bit: a run that is resumed draws as it
    would have.
    """
    parts = [(torch.ones(len(samples), dtype=torch.bool), float(len(samples)))]
    if configuration.sampling is not None:
        parts = [(samples.kinds == at, getattr(configuration.sampling, kind)) for kind, at in CLASS_NUMBERS.items()]
    sets = np.array(samples.sets)
    weights = torch.zeros(len(samples))
    for of_part, share in parts:
        if configuration.mix is None:
            weights[of_part] = share / max(int(of_part.sum()), 1)
            continue
        within = of_part.float()
        for name, weight in configuration.mix.items():
            of_set = of_part & torch.from_numpy(sets == name)
            within[of_set] = weight / max(int(of_set.sum()), 1)
        weights += share * within / within.sum().clamp_min(1e-12)
    return weights


def step_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """Randomness of one step in one process, independent of all other steps."""
    state = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
