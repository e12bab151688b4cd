"""Two evaluations on the same images, pair by pair; and several, row by row, as a table for docs/accuracy.md."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scipy.stats import binomtest

from training.errors import EvaluationUnusable
from training.evaluation.cases import Case, EvaluationFolder
from training.evaluation.confidence import calibration
from training.evaluation.figures import in_short
from training.evaluation.pixels import class_iou, tumour_iou
from training.evaluation.pooling import of_first_seed, pool
from training.evaluation.resampling import Numbers, Statistic, mean, pooled
from training.evaluation.sample import Figure, NamedFigure, Said, Sample
from training.run_folder import RunFolder

_HEADINGS = (
    "recipe",
    "folds",
    "images",
    "lesion Dice (95 %)",
    "tumour IoU, pooled",
    "mean IoU, pooled",
    "missed",
    "false alarms",
    "type right",
    "ECE",
    "Dice against {} (95 %, paired)",
)
_COLUMNS = (
    "lesion_dice",
    "tumour_iou_pooled",
    "mean_iou_pooled",
    "missed_lesions",
    "false_alarms",
    "type_right_when_found",
    "ece",
)


@dataclass(frozen=True, slots=True)
class McNemar:
    """How two evaluations differ in what happens to an image or not (McNemar, 1947; exact, by the binomial)."""

    count: int
    """Images that are looked at."""
    only_first: int
    """Of those, to which it happens in the first evaluation alone."""
    only_second: int
    p: float
    """Probability of a difference as large or larger, if both were alike; 1 where nothing differs."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second evaluation minus the first, on the images that both have."""

    images: int
    only_first: int
    """Images that the second evaluation does not have."""
    only_second: int
    differences: Mapping[str, Figure]
    """As far as there are images of which they are."""
    false_alarms: McNemar
    missed_lesions: McNemar

    def as_json(self) -> str:
        """Stable text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def as_text(self, first: str, second: str) -> str:
        """For a person, one line a figure, of evaluations of these names."""
        lines = [f"{second} minus {first}, on {self.images} images that both have"]
        if self.only_first or self.only_second:
            lines.append(f"left out, because only one has them: {self.only_first} and {self.only_second}")
        lines += [f"  {figure.label:<24} {_signed(figure)}" for figure in self.differences.values()]
        lines += [
            f"  {label:<24} of {test.count} images, {test.only_first} in {first} alone and {test.only_second} in "
            f"{second} alone; p = {test.p:.3f} (McNemar, exact)"
            for label, test in (("False alarms", self.false_alarms), ("Missed", self.missed_lesions))
        ]
        return "\n".join(lines)


def read_cases(folder: Path, dataset: str | None = None) -> tuple[Case, ...]:
    """The cases of an evaluation's folder, of an evaluated run, or of all folds of a cross-validation.

    Args:
        folder: As above.
        dataset: Only those of this set, where several were measured together.

    Raises:
        EvaluationUnusable: there are none.
    """
    cases = tuple(case for case in _all_cases(folder) if dataset in (None, case.dataset))
    if not cases:
        raise EvaluationUnusable(f"{folder} holds no case of {dataset}.")
    return cases


def _all_cases(folder: Path) -> tuple[Case, ...]:
    for path in (folder, folder / "evaluation"):
        if EvaluationFolder(path).cases_file.is_file():
            return EvaluationFolder(path).read()
    folds = [RunFolder(file.parents[1]) for file in sorted(folder.glob("fold-*/evaluation/cases.csv"))]
    if not folds:
        raise EvaluationUnusable(f"{folder} holds no evaluation and no evaluated folds: run `evaluate` first.")
    return pool(folds)


def compare(first: Sequence[Case], second: Sequence[Case]) -> Comparison:
    """The differences, with intervals by drawing the same groups on both sides.

    Raises:
        EvaluationUnusable: they have no image in common, or take one for something else.
    """
    ours, theirs = ({case.key: case for case in of_first_seed(cases)} for cases in (first, second))
    keys = [key for key in ours if key in theirs]
    if not keys:
        raise EvaluationUnusable("The two evaluations have no image in common.")
    for key in keys:
        if (ours[key].kind, ours[key].group) != (theirs[key].kind, theirs[key].group):
            raise EvaluationUnusable(f"{key} is of another kind or group in the other evaluation.")
    paired = _Paired(Sample([ours[key] for key in keys]), Sample([theirs[key] for key in keys]))
    return Comparison(
        images=len(keys),
        only_first=len(ours) - len(keys),
        only_second=len(theirs) - len(keys),
        differences={name: figure for name, figure in paired.differences() if figure.count},
        false_alarms=paired.mcnemar(lambda case: case.kind == "normal", lambda case: case.largest_share > 0),
        missed_lesions=paired.mcnemar(lambda case: case.kind != "normal", lambda case: not case.found),
    )


def ladder(folders: Sequence[Path], base: Path | None = None, dataset: str | None = None) -> str:
    """A Markdown table with a row for each evaluation, in their order, and the difference to the row before.

    Args:
        folders: Of evaluations or cross-validations; a row is called by its folder's name.
        base: The evaluation to which all differences are, in place of the row before.
        dataset: As of `read_cases`.

    Raises:
        EvaluationUnusable: a folder holds no evaluation, or has no image in common with the one it is compared with.
    """
    rungs = [(folder.resolve().name, of_first_seed(read_cases(folder, dataset))) for folder in folders]
    against = of_first_seed(read_cases(base, dataset)) if base else None
    headings = " | ".join(_HEADINGS).format(base.resolve().name if base else "the row above")
    lines = [f"| {headings} |", f"|---|---|{'---:|' * (len(_HEADINGS) - 2)}"]
    for position, (name, cases) in enumerate(rungs):
        before = against or (rungs[position - 1][1] if position else cases)
        lines.append(f"| {' | '.join(_row(name, cases, before))} |")
    return "\n".join(lines) + "\n"


class _Paired:
    """Two samples of the same images in the same order, drawn alike."""

    def __init__(self, first: Sample, second: Sample) -> None:
        self._first, self._second = first, second

    def differences(self) -> Sequence[NamedFigure]:
        return (
            self._difference(Said("lesion_dice", "Lesion Dice", "difference of lesion_dice"), _mean_of("dice")),
            self._difference(Said("lesion_iou", "Lesion IoU", "difference of lesion_iou"), _mean_of("iou")),
            self._difference(
                Said("tumour_iou_pooled", "Tumour IoU, pooled", "difference of tumour_iou_pooled"),
                _pooled(tumour_iou),
                of_all=True,
            ),
            self._difference(
                Said("mean_iou_pooled", "Mean IoU, pooled", "difference of mean_iou_pooled"),
                _pooled(lambda counts: class_iou(counts).mean(axis=-1)),
                of_all=True,
            ),
        )

    def mcnemar(self, of: Callable[[Case], bool], happened: Callable[[Case], bool]) -> McNemar:
        pairs = [
            (happened(ours), happened(theirs))
            for ours, theirs in zip(self._first.cases, self._second.cases, strict=True)
            if of(ours)
        ]
        only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
        differing = only_first + only_second
        p = float(binomtest(only_first, differing).pvalue) if differing else 1.0
        return McNemar(len(pairs), only_first, only_second, p)

    def _difference(
        self, said: Said, statistic_of: Callable[[Sample], Statistic], *, of_all: bool = False
    ) -> NamedFigure:
        taken = (self._first.kinds > 0) | of_all
        first, second = self._first.part(taken), self._second.part(taken)
        ours, theirs = statistic_of(first), statistic_of(second)
        return second.figure(said, lambda weights: theirs(weights) - ours(weights))


def _mean_of(name: str) -> Callable[[Sample], Statistic]:
    return lambda sample: mean(sample.values(name))


def _pooled(of_counts: Callable[[Numbers], Numbers]) -> Callable[[Sample], Statistic]:
    return lambda sample: pooled(sample.counts, of_counts)


def _row(name: str, cases: Sequence[Case], before: Sequence[Case]) -> Sequence[str]:
    figures = {**in_short(cases), **dict(calibration(Sample(cases)))}
    folds = sorted({case.fold for case in cases if case.fold is not None})
    cells = [figures[column].shown() if figures[column].count else "–" for column in _COLUMNS]
    if figures["lesion_dice"].count:
        cells[0] += f" ({figures['lesion_dice'].interval()})"
    difference = compare(before, cases).differences.get("lesion_dice")
    told = _signed(difference) if difference and before != cases else "–"
    return name, ", ".join(map(str, folds)) or "–", str(len(cases)), *cells, told


def _signed(figure: Figure) -> str:
    return f"{figure.value:+.3f} ({figure.low:+.3f} to {figure.high:+.3f})"
