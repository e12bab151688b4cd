"""The cases of several runs together, each of which left out another part."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from training.errors import EvaluationUnusable
from training.evaluation.cases import Case, EvaluationFolder
from training.run_folder import RunFolder


def pool(folders: Sequence[RunFolder]) -> tuple[Case, ...]:
    """The cases of evaluated runs, each of which left out something else: every image is tested once for each seed.

    Raises:
        EvaluationUnusable: a run is not evaluated with its cases, or two runs of a seed tested the same image.
    """
    cases = [case for folder in folders for case in _of_fold(folder)]
    seen: set[tuple[str, int | None]] = set()
    for case in cases:
        if (case.key, case.seed) in seen:
            raise EvaluationUnusable(f"{case.key} is tested twice with seed {case.seed}: these are no folds.")
        seen.add((case.key, case.seed))
    return tuple(cases)


def of_first_seed(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Those of the seed of the first case: an image that several seeds tested does not count for several."""
    return tuple(case for case in cases if case.seed == cases[0].seed)


def evaluation_of(folder: RunFolder) -> EvaluationFolder:
    """Where the measured images of a run are kept."""
    return EvaluationFolder(folder.path / "evaluation")


def fold_number(folder: RunFolder) -> int | None:
    """The fold that a run of a cross-validation leaves out, by the name of its folder."""
    numbered = re.fullmatch(r"fold-(\d+)", folder.path.name)
    return int(numbered[1]) if numbered else None


def _of_fold(folder: RunFolder) -> Iterable[Case]:
    number = fold_number(folder)
    for case in evaluation_of(folder).read():
        yield case if number is None else replace(case, fold=number)
