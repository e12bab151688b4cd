"""Five runs that each leave out another fold, side by side, and what they say together.

    OUT/fold-0 … fold-4/    runs as `train` makes them, each with its log.txt
        report.html, metrics.json    what they say together, every scene tested once

Each fold is a process of its own, so that one can be killed and go on without the others.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.configuration import Configuration
from training.datasets.folds import FOLD_COUNT
from training.datasets.records import Record
from training.datasets.splits import SplitKind
from training.errors import RunUnusable
from training.evaluation.pooling import evaluation_of, fold_number, pool
from training.evaluation.report import write_report
from training.evaluation.sample import Figure
from training.evaluation.subjects import context_of_runs, evaluate_run
from training.run_folder import RunFolder

LAST_LINES = 12
"""Of the log of a fold that failed, shown to the user."""


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """What is trained, and where.

    Args:
        out: Folder of the runs.
        folds: Which folds are left out, one run each.
        arguments: What each `train` is told, but for its fold, its folder and its teacher.
        teacher: Another cross-validation, whose run of the same fold teaches.
        side_by_side: Number of runs at a time; each has an equal part of the cores.
    """

    out: Path
    folds: tuple[int, ...]
    arguments: tuple[str, ...]
    teacher: Path | None = None
    side_by_side: int = 1

    def folder(self, fold: int) -> RunFolder:
        """The run that leaves a fold out."""
        return fold_of(self.out, fold)

    def run(self) -> None:
        """Trains all folds that are not finished; what was begun goes on where it stood.

        Raises:
            RunUnusable: at least one fold failed; all others are finished.
        """
        waiting = [fold for fold in self.folds if not self.folder(fold).metrics_file.exists()]
        running: dict[int, subprocess.Popen[bytes]] = {}
        failed: list[int] = []
        try:
            while waiting or running:
                while waiting and len(running) < self.side_by_side:
                    fold = waiting.pop(0)
                    running[fold] = self._start(fold)
                time.sleep(0.2)
                ended = [fold for fold, process in running.items() if process.poll() is not None]
                failed += [fold for fold in ended if running.pop(fold).returncode]
        finally:
            for process in running.values():
                process.terminate()
        if failed:
            raise RunUnusable("\n".join(self._told(fold) for fold in failed))

    def _start(self, fold: int) -> subprocess.Popen[bytes]:
        folder = self.folder(fold)
        folder.path.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "training", "train", *self.arguments]
        command += ["--fold", str(fold), "--out", str(folder.path)]
        command += ["--teacher", str(fold_of(self.teacher, fold).path)] if self.teacher else []
        command += ["--resume"] if folder.configuration_file.exists() else []
        threads = max(1, (os.cpu_count() or 1) // self.side_by_side)
        with self._log(fold).open("ab") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def _log(self, fold: int) -> Path:
        return self.folder(fold).path / "log.txt"

    def _told(self, fold: int) -> str:
        lines = self._log(fold).read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return f"Fold {fold} failed, see {self._log(fold)}:\n" + "\n".join(f"  {line}" for line in lines)


def check_recipe(cross_validation: Path, configuration: Configuration) -> None:
    """Makes sure that what was begun in a folder and what is to be added can be told together.

    Raises:
        RunUnusable: a fold was begun by another recipe, or with another seed.
    """
    for folder in _begun(cross_validation):
        folder.check_recipe(configuration)


def check_split(cross_validation: Path, records: Sequence[Record], kind: SplitKind) -> None:
    """Makes sure that what was begun in a folder was split as what is to be added.

    Raises:
        RunUnusable: a fold was begun with other images, or by another split.
        SplitDiffers: images of a fold are not in the sets.
    """
    for folder in _begun(cross_validation):
        numbered = fold_number(folder)
        if numbered is not None:
            folder.resumed_split(records, kind, numbered)


def report(cross_validation: Path, records: Sequence[Record]) -> Mapping[str, Figure]:
    """What all finished folds say together; writes report.html and metrics.json beside them.

    Args:
        cross_validation: Its folder.
        records: Of the data sets that the folds were split over.

    Raises:
        RunUnusable: no fold is finished.
    """
    folders = finished(cross_validation)
    for folder in folders:
        if not evaluation_of(folder).path.is_dir():  # a run of before images were kept one by one
            evaluate_run(folder, folder.split(records))
    return write_report(pool(folders), context_of_runs(folders, records), cross_validation)


def fold_numbers(text: str) -> tuple[int, ...]:
    """The folds in a list as people write it, `0,1,4`.

    Raises:
        RunUnusable: it is no such list.
    """
    numbers = [each.strip() for each in text.split(",")]
    if not set(numbers) <= set(map(str, range(FOLD_COUNT))) or len(set(numbers)) < len(numbers):
        raise RunUnusable(f"Folds are numbers from 0 to {FOLD_COUNT - 1} with commas between them, not {text!r}.")
    return tuple(map(int, numbers))


def fold_of(cross_validation: Path, fold: int) -> RunFolder:
    """The run that leaves a fold out, of a cross-validation's folder."""
    return RunFolder(cross_validation / f"fold-{fold}")


def finished(cross_validation: Path) -> Sequence[RunFolder]:
    """The runs of a cross-validation that are trained and measured, in order of their folds.

    Raises:
        RunUnusable: there is none.
    """
    folders = list(_finished(cross_validation))
    if not folders:
        raise RunUnusable(f"{cross_validation} holds no finished fold: run `cross-validate` first.")
    return folders


def _begun(cross_validation: Path) -> Iterator[RunFolder]:
    for path in sorted(cross_validation.glob("fold-*")):
        if RunFolder(path).configuration_file.exists():
            yield RunFolder(path)


def _finished(cross_validation: Path) -> Iterator[RunFolder]:
    for path in sorted(cross_validation.glob("fold-*")):
        if RunFolder(path).metrics_file.exists():
            yield RunFolder(path)
