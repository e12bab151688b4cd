"""A training run: fitting a network by a recipe, with a state to resume from."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import cast

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.swa_utils import update_bn

from efsnet.network import SegmentationNetwork
from training.batches import Parts, Samples, read_samples
from training.configuration import Configuration
from training.datasets.folds import Split
from training.errors import RunUnusable
from training.learner import Learner
from training.networks import build
from training.networks.wide import fold, widen
from training.processes import Agreement, Launch
from training.provenance import digest_of
from training.run_folder import RunFolder
from training.specification import input_specification
from training.teacher import Teacher

NORMALISATION_BATCHES = 100
"""Batches from which the statistics of batch normalisation are taken anew, for the final weights."""

NORMALISATION_BATCH = 8

LOWEST = "lowest"
"""Stem of the checkpoint of the lowest validation loss."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run computes on.

    Args:
        accelerator: `auto`, `cpu` or `gpu`.
        devices: Processes, each with a GPU of its own or an equal part of the cores.
        compiled: Whether to compile the network first.
        machines: Each with as many processes.
    """

    accelerator: str = "auto"
    devices: int = 1
    compiled: bool = True
    machines: int = 1

    @property
    def processes(self) -> int:
        """On all machines."""
        return self.devices * self.machines

    def launched(self, launch: Launch | None) -> "Machine":
        """The same with the processes that `torchrun` started, if it did.

        Raises:
            RunUnusable: `devices` was given too, and says otherwise.
        """
        if launch is None:
            return self
        if self.devices not in (1, launch.here):
            raise RunUnusable(
                "Under torchrun, --nproc-per-node says how many processes there are: leave --devices out."
            )
        return replace(self, devices=launch.here, machines=launch.machines)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a run may begin with, beside its data.

    Args:
        weights: A network of the same kind whose weights are where training starts, random ones if None.
        teacher: Whose answers the network learns beside the references.
    """

    weights: SegmentationNetwork | None = None
    teacher: Teacher | None = None


def train(
    folder: RunFolder, configuration: Configuration, split: Split, machine: Machine, beginning: Beginning
) -> None:
    """Trains from the beginning, or goes on from the newest checkpoint in the folder.

    Args:
        folder: Of the run; holds all that is written.
        configuration: The recipe.
        split: Its training part fits the weights, its validation part is watched.
        machine: What to compute on.
        beginning: The same as when the run was started.

    Raises:
        RunUnusable: the recipe asks for a teacher and there is none, or the other way round; a batch cannot be shared
            by the processes; or they are not at the same run.
    """
    if bool(configuration.loss.distillation) != bool(beginning.teacher):
        raise RunUnusable("A recipe with distillation needs a teacher, and no other can have one.")
    checkpoint = folder.newest_checkpoint()
    machine = _shared(machine, configuration)
    lightning.seed_everything(configuration.seed, verbose=False)
    source = input_specification(configuration.source)
    train_part = read_samples(split.train, source)
    validation_part = read_samples(split.validation, source) if split.validation else None
    if beginning.teacher is not None:
        taught = beginning.teacher.answers(train_part.images, configuration.loss.distillation_temperature)
        train_part = replace(train_part, taught=taught)
    network = build(configuration.network, configuration.dropout)
    if beginning.weights is not None:
        network.load_state_dict(beginning.weights.state_dict())  # its weights, with the recipe's dropout
    if configuration.widened:
        widen(network)
    learner = Learner(network, configuration, compiled=machine.compiled)
    agreement = Agreement(lambda: facts_of(folder, configuration, split, checkpoint))
    trainer = _trainer(folder, configuration, machine, [agreement] if machine.processes > 1 else [])
    parts = Parts(configuration, train_part, validation_part)
    if configuration.choose != "last" and not split.validation:
        raise RunUnusable("A recipe that chooses weights by the validation loss needs a validation part.")
    trainer.fit(learner, parts, ckpt_path=checkpoint, weights_only=True)
    if trainer.is_global_zero:
        # From the file, not from memory: a run that was killed behind its last step is not trained any more when it
        # is resumed, and Lightning then leaves the weights of the step in memory, not their average.
        last = folder.newest_checkpoint() if configuration.choose == "last" else folder.checkpoints / f"{LOWEST}.ckpt"
        learner.load_state_dict(torch.load(cast(Path, last), weights_only=True)["state_dict"])
        if configuration.choose == "last":
            _renew_normalisation(learner.network, configuration, train_part)
        if configuration.widened:
            fold(learner.network)
        _write_weights(learner.network, folder.weights_file)


def check_accelerator(accelerator: str) -> None:
    """Refuses a GPU that is not there, before anything is written.

    Raises:
        RunUnusable: there is none.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise RunUnusable("There is no GPU that torch can use: leave --accelerator out, or install torch's CUDA build.")


def _trainer(
    folder: RunFolder, configuration: Configuration, machine: Machine, more: list[Callback]
) -> lightning.Trainer:
    if not torch.cuda.is_available():
        torch.set_num_threads(max(1, torch.get_num_threads() // machine.devices))
    callbacks = [
        *more,
        ModelCheckpoint(
            folder.checkpoints, "{step}", monitor="step", mode="max", save_top_k=2, save_on_train_epoch_end=True
        ),
    ]
    if configuration.choose == "lowest_validation_loss":
        callbacks.append(
            ModelCheckpoint(folder.checkpoints, LOWEST, monitor="validation/loss", enable_version_counter=False)
        )
    if configuration.average_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=configuration.average_decay))
    if sys.stderr.isatty():
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    starts = len(list(folder.logs.glob("start_*"))) if folder.logs.is_dir() else 0
    return lightning.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.machines,
        strategy="ddp" if machine.processes > 1 else "auto",
        max_steps=configuration.steps,
        gradient_clip_val=configuration.optimiser.clip_norm,
        callbacks=callbacks,
        logger=[
            CSVLogger(folder.path, name="logs", version=f"start_{starts}", flush_logs_every_n_steps=50),
            TensorBoardLogger(folder.path, name="logs", version="tensorboard"),
        ],
        check_val_every_n_epoch=configuration.epochs_per_validation,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
    )


def _shared(machine: Machine, configuration: Configuration) -> Machine:
    """The machines that share the run, and can share each batch."""
    machine = machine.launched(Launch.read())
    if uneven := [phase.batch for phase in configuration.phases if phase.batch % machine.processes]:
        raise RunUnusable(f"A batch of {uneven[0]} images cannot be shared by {machine.processes} processes.")
    return machine


def facts_of(folder: RunFolder, configuration: Configuration, split: Split, checkpoint: Path | None) -> dict[str, str]:
    """What all processes must have in common, by what a person calls it."""
    begun = folder.environment_file
    return {
        # Not by its path, which may be another one where it is mounted elsewhere.
        "OUT, which is one folder that all machines see,": begun.read_text("utf-8") if begun.exists() else "",
        "The recipe": configuration.model_dump_json(),
        "The data set": split.as_csv() + digest_of([*split.train, *split.validation]),
        "The state to go on from": checkpoint.name if checkpoint else "",
    }


def _renew_normalisation(network: SegmentationNetwork, configuration: Configuration, samples: Samples) -> None:
    """Takes the statistics of batch normalisation from whole, unchanged training images at the final size."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(configuration.seed))
    size = configuration.input_size

    def batches() -> Iterator[Tensor]:
        for indices in islice(torch.split(order, NORMALISATION_BATCH), NORMALISATION_BATCHES):
            images = samples.images[indices].float() / 255
            yield torch.nn.functional.interpolate(images, (size, size), mode="area")

    with _without_dropout(network):
        update_bn(batches(), network)
    network.eval()


@contextmanager
def _without_dropout(network: torch.nn.Module) -> Iterator[None]:
    """Dropped channels would make the variances larger than they are in use."""
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Dropout | torch.nn.Dropout2d)]
    rates = [layer.p for layer in layers]
    for layer in layers:
        layer.p = 0.0
    try:
        yield
    finally:
        for layer, rate in zip(layers, rates, strict=True):
            layer.p = rate


@rank_zero_only
def _write_weights(network: SegmentationNetwork, path: Path) -> None:
    unfinished = path.with_suffix(".unfinished")
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, unfinished)
    unfinished.replace(path)
