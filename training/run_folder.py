"""The folder of a training run.

    RUN/configuration.json   the recipe, as it was checked
        split.csv            part, data set, file and scene of each image
        learnt_from.csv      the same of what is learnt from and chosen on, with the digest of each image; those that
                             the version with which the run began and its teacher learnt from come last
        environment.json     code commit, versions, digest of the data; where the weights started from, who taught
        checkpoints/         resumable states; the newest two, and the best where the recipe chooses it
        logs/                metrics.csv of each start, and TensorBoard's events
        .lock                held by the process that trains
        weights.safetensors  the final weights, present once the run is finished

Evaluation adds `operating_point.json`, what the validation part chose, and `metrics.json`, the figures of the test
part (see `training.evaluation`); `precision` adds `precisions.json`, what fewer bits do to the masks.
"""

import csv
import fcntl
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from efsnet.network import SegmentationNetwork
from training.configuration import Configuration, read_configuration
from training.datasets.folds import BUSI, Split
from training.datasets.records import Record
from training.datasets.splits import SplitKind, split_by
from training.errors import RunUnusable
from training.networks import build
from training.teacher import Teacher


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where the parts of a run lie."""

    path: Path

    @property
    def configuration_file(self) -> Path:
        return self.path / "configuration.json"

    @property
    def split_file(self) -> Path:
        return self.path / "split.csv"

    @property
    def environment_file(self) -> Path:
        return self.path / "environment.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def learnt_from_file(self) -> Path:
        return self.path / "learnt_from.csv"

    @property
    def weights_file(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def operating_point_file(self) -> Path:
        return self.path / "operating_point.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.json"

    @property
    def baseline_file(self) -> Path:
        """How images and answers lie where the run was measured, if that was asked for."""
        return self.path / "baseline.json"

    @property
    def precisions_file(self) -> Path:
        return self.path / "precisions.json"

    def configuration(self) -> Configuration:
        """The recipe of the run.

        Raises:
            RunUnusable: the folder holds no run.
        """
        try:
            return Configuration.model_validate_json(self.configuration_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunUnusable(f"{self.path} is no training run: {self.configuration_file.name}: {error}") from error

    def resumed(self, config: str | None, seed: int | None) -> Configuration:
        """The recipe of the run, which goes on by that and no other.

        Args:
            config: What the user says that it is, if he does.
            seed: The same of its seed.

        Raises:
            RunUnusable: the folder holds no run, or one by another recipe or seed.
            ConfigurationInvalid: there is no such configuration.
        """
        configuration = self.configuration()
        if config is not None:
            self.check_recipe(read_configuration(config, seed=seed))
        elif seed is not None:
            self.check_recipe(configuration.model_copy(update={"seed": seed}))
        return configuration

    def check_recipe(self, configuration: Configuration) -> None:
        """Makes sure that the run is by this recipe, with its seed.

        Raises:
            RunUnusable: it is not, or the folder holds no run.
        """
        begun = self.configuration()
        if begun != configuration:
            raise RunUnusable(
                f"{self.path} was begun by recipe {begun.name} with seed {begun.seed}, which differs from "
                f"{configuration.name} with seed {configuration.seed}: name another folder."
            )

    def split(self, records: Iterable[Record]) -> Split:
        """The parts on which the run was trained, chosen and tested.

        Raises:
            RunUnusable: the folder holds no run.
            SplitDiffers: `records` are of another data set.
        """
        return Split.from_csv(self._split_text(), records)

    def sets(self) -> frozenset[str]:
        """Names of the data sets that the run was split over; runs of before there were several name none, but BUSI.

        Raises:
            RunUnusable: the folder holds no run.
        """
        lines = csv.DictReader(self._split_text().splitlines())
        return frozenset(line.get("dataset", BUSI) for line in lines)

    def _split_text(self) -> str:
        try:
            return self.split_file.read_text(encoding="utf-8")
        except OSError as error:
            raise RunUnusable(f"{self.path} is no training run: {error}") from error

    def resumed_split(self, records: Sequence[Record], kind: SplitKind | None, fold: int | None) -> Split:
        """The parts on which the run goes on, and no others.

        Args:
            records: Of the sets that the run was split over.
            kind: How the user says that they are split, if he does.
            fold: The same of the fold that is tested.

        Raises:
            RunUnusable: the folder holds no run, or one of other sets, another split or another fold.
            SplitDiffers: images of the split are not in the sets.
        """
        parts = self.split(records)
        added = sorted({record.dataset for record in records} - self.sets())
        if added:
            raise RunUnusable(f"{self.path} was begun without {', '.join(added)}: name another folder.")
        asked = (kind, fold) != (None, None)
        if asked and split_by(kind or "groups", records, fold or 0) != parts:
            raise RunUnusable(
                f"{self.path} was split otherwise: it goes on without --fold and --split, on the images that it was "
                "begun with. For another split, or for images that were added, name another folder."
            )
        return parts

    def check_beginning(self, digest: str | None) -> None:
        """Makes sure that a run that goes on begins where it began.

        Args:
            digest: Of the version whose weights the user says that it starts from, if he does.

        Raises:
            RunUnusable: it began with other weights, or no state of it was kept yet and they are not named.
        """
        begun = self.environment().get("started_from")
        if digest and digest != begun:
            raise RunUnusable(
                f"{self.path} began with {f'the weights of {begun}' if begun else 'random weights'}, not with those "
                f"of {digest}: name another folder."
            )
        if begun and not digest and self.newest_checkpoint() is None:
            raise RunUnusable(
                f"{self.path} began with the weights of {begun}, and no state of it was kept yet: say --from and "
                "--store again."
            )

    def environment(self) -> dict[str, Any]:
        """What the run was made of; nothing if that is not known."""
        try:
            return dict(json.loads(self.environment_file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def learnt_from(self) -> str:
        """The text of learnt_from.csv; empty of runs of before it was written."""
        return self.learnt_from_file.read_text(encoding="utf-8") if self.learnt_from_file.exists() else ""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from the run until this one is done with it, or is killed.

        Raises:
            RunUnusable: another one is at it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunUnusable(f"{self.path} is being trained by another process.") from error
            yield

    def network(self) -> SegmentationNetwork:
        """The trained network.

        Raises:
            RunUnusable: the run is not finished, or its weights are not this network's.
        """
        configuration = self.configuration()
        if not self.weights_file.exists():
            raise RunUnusable(f"{self.path} is not finished: go on with `train --resume`.")
        network = build(configuration.network, configuration.dropout)
        try:
            network.load_state_dict(load_file(self.weights_file))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise RunUnusable(f"{self.weights_file}: {error}") from error
        return network.eval()

    def as_teacher(self, records: Iterable[Record]) -> Teacher:
        """The finished run as the teacher of another one, of the same data set.

        Raises:
            RunUnusable: the run is not finished.
            SplitDiffers: `records` are of another data set.
        """
        return Teacher(self.path, self.network(), self.configuration().input_size, self.split(records))

    def newest_checkpoint(self) -> Path | None:
        """The newest state that can be read; a file cut off while it was written is passed over."""
        newest_first = sorted(self.checkpoints.glob("step=*.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)
        return next((path for path in newest_first if _readable(path)), None)


def _readable(checkpoint: Path) -> bool:
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError):  # a file cut off while it was written
        return False
    return True
