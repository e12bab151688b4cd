"""Cases as arrays, and figures of them: a value, its interval and what it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from training.datasets.records import CLASS_NUMBERS
from training.evaluation.cases import Case
from training.evaluation.resampling import Numbers, Statistic, Weights, draw, interval, wilson

Unit = Literal["", "share", "px", "mm", "% of the diagonal", "% of the image"]
"""Of a figure; a `share` is from 0 to 1 and shown in per cent."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a figure is."""

    name: str
    """In JSON."""
    label: str
    """In a few words, for people."""
    definition: str
    unit: Unit = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval and what it is; of no images it is not a number."""

    value: float
    low: float
    high: float
    count: int
    """Of the images that it is of."""
    definition: str
    label: str = ""
    unit: Unit = ""

    def shown(self) -> str:
        """The value as people read it, without its unit but for per cent."""
        return self._rounded(self.value) + self._per_cent

    def interval(self) -> str:
        """The interval as people read it."""
        return f"{self._rounded(self.low)} to {self._rounded(self.high)}{self._per_cent}"

    @property
    def _per_cent(self) -> str:
        return " %" if self.unit == "share" else ""

    def _rounded(self, number: float) -> str:
        if self.unit == "share":
            return f"{100 * number:.1f}"
        return f"{number:.1f}" if self.unit in {"px", "mm"} else f"{number:.{2 if self.unit else 3}f}"


NamedFigure = tuple[str, Figure]


class Sample:
    """Some cases, with how often each was drawn in the resamples of all.

    Args:
        cases: At least none.
        weights: (resamples, n), drawn from these cases by default.
    """

    def __init__(self, cases: Sequence[Case], weights: Weights | None = None) -> None:
        self.cases = tuple(cases)
        self.kinds: NDArray[np.int64] = np.array([CLASS_NUMBERS[case.kind] for case in cases], dtype=np.int64)
        self.counts: Numbers = np.array([case.counts for case in cases], dtype=np.float64).reshape(-1, 3, 3)
        self.weights = draw([case.group for case in cases], self.kinds) if weights is None else weights

    def part(self, of: NDArray[np.bool_]) -> Self:
        """Those cases of which (n,) `of` is true, as they were drawn among all."""
        chosen = [case for case, taken in zip(self.cases, of, strict=True) if taken]
        return type(self)(chosen, self.weights[:, of])

    def values(self, name: str) -> Numbers:
        """(n,) values of an attribute of the cases; what is unknown is not a number."""
        values = [getattr(case, name) for case in self.cases]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def flags(self, name: str) -> NDArray[np.bool_]:
        """(n,) whether an attribute of the cases is true."""
        return np.array([bool(getattr(case, name)) for case in self.cases], dtype=np.bool_)

    def figure(self, said: Said, statistic: Statistic) -> NamedFigure:
        """A statistic of these cases, with a bootstrap interval."""
        if not self.cases:
            return said.name, _of_nothing(said)
        value, low, high = interval(statistic, self.weights)
        if np.isnan(value):
            return said.name, _of_nothing(said)
        return said.name, Figure(value, low, high, len(self.cases), said.definition, said.label, said.unit)

    def rate(self, said: Said, happened: NDArray[np.bool_]) -> NamedFigure:
        """The share of these cases to which something happened, with Wilson's interval."""
        if not self.cases:
            return said.name, _of_nothing(said)
        low, high = wilson(int(happened.sum()), len(self.cases))
        return said.name, Figure(
            float(happened.mean()), low, high, len(self.cases), said.definition, said.label, "share"
        )


def _of_nothing(said: Said) -> Figure:
    return Figure(float("nan"), 0.0, 1.0, 0, said.definition, said.label, said.unit)
