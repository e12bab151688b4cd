"""How sure a figure is: 95 % intervals by resampling groups, and Wilson's for rates.

A statistic is a function of weights, how often each case was drawn: (resamples, n) to (resamples,). All resamples are
computed at once; a weight of 1 each gives the value itself.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

RESAMPLES = 5000
PERCENTILES = (2.5, 97.5)
SEED = 0

Numbers = NDArray[np.float64]
Weights = NDArray[np.float64]
"""(resamples, n): how often each of n cases was drawn."""

Statistic = Callable[[Weights], Numbers]


def draw(groups: Sequence[str], kinds: NDArray[np.int64], resamples: int = RESAMPLES) -> Weights:
    """A cluster bootstrap: groups are drawn with replacement, as many of each kind as there are.

    The kind of a group is the gravest of its cases'. The same cases are drawn alike each time.

    Args:
        groups: Of each case.
        kinds: (n,) class number of each case.
        resamples: How many.
    """
    names, of_case = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    gravest = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(gravest, of_case, kinds)
    random = np.random.default_rng(SEED)
    drawn = np.zeros((resamples, len(names)))
    for kind in np.unique(gravest):
        (stratum,) = np.nonzero(gravest == kind)
        picks = random.integers(len(stratum), size=(resamples, len(stratum)))
        picks += np.arange(resamples)[:, np.newaxis] * len(stratum)
        drawn[:, stratum] = np.bincount(picks.ravel(), minlength=picks.size).reshape(picks.shape)
    return drawn[:, of_case]


def interval(statistic: Statistic, weights: Weights) -> tuple[float, float, float]:
    """Value, low and high of a statistic; not numbers where it has none.

    Args:
        statistic: Of the weights of n >= 1 cases.
        weights: As drawn; a resample that holds none of the cases counts for nothing.
    """
    value = float(statistic(np.ones((1, weights.shape[1])))[0])
    values = statistic(weights[weights.any(axis=1)])
    values = values[~np.isnan(values)]
    if not values.size:
        return value, np.nan, np.nan
    low, high = np.percentile(values, PERCENTILES)
    return value, float(low), float(high)


def wilson(happened: int, count: int) -> tuple[float, float]:
    """Low and high of a rate (Wilson, JASA 22, 1927)."""
    interval = binomtest(happened, count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def mean(values: Numbers) -> Statistic:
    """Of (n,) values."""
    return ratio(values, np.ones(len(values)))


def ratio(parts: Numbers, wholes: Numbers) -> Statistic:
    """Sum of (n,) parts by the sum of (n,) wholes."""
    return lambda weights: share(weights @ parts, weights @ wholes, np.nan)


def pooled(counts: Numbers, figure: Callable[[Numbers], Numbers]) -> Statistic:
    """A figure of the sums of (n, …) counts; it takes (resamples, …) and gives (resamples,)."""
    flat = counts.reshape(len(counts), math.prod(counts.shape[1:]))
    return lambda weights: figure((weights @ flat).reshape(-1, *counts.shape[1:]))


def median(values: Numbers) -> Statistic:
    """Of (n,) values; of an even number the mean of the two in the middle."""
    order = np.argsort(values)
    ascending = values[order]

    def statistic(weights: Weights) -> Numbers:
        upto = np.cumsum(weights[:, order], axis=1)
        total = upto[:, -1:]
        lower, upper = ((upto > np.floor(middle)).argmax(axis=1) for middle in ((total - 1) / 2, total / 2))
        return np.asarray((ascending[lower] + ascending[upper]) / 2)

    return statistic


def deviation_bound(values: Numbers, deviations: float) -> Statistic:
    """Mean plus so many sample standard deviations of (n,) values: a limit of agreement (Bland and Altman, 1986)."""

    def statistic(weights: Weights) -> Numbers:
        total = weights.sum(axis=1)
        mean = weights @ values / total
        variance = np.maximum(weights @ np.square(values) / total - np.square(mean), 0)
        return np.asarray(mean + deviations * np.sqrt(share(variance * total, total - 1, np.nan)))

    return statistic


def area_under_curve(scores: Numbers, positive: NDArray[np.bool_]) -> Statistic:
    """Probability that a positive's score is above a negative's, equal ones counted half (the area under the ROC)."""
    ahead = np.sign(scores[positive][:, np.newaxis] - scores[~positive]) / 2 + 0.5

    def statistic(weights: Weights) -> Numbers:
        of_positive, of_negative = weights[:, positive], weights[:, ~positive]
        pairs = of_positive.sum(axis=1) * of_negative.sum(axis=1)
        return share(((of_positive @ ahead) * of_negative).sum(axis=1), pairs, np.nan)

    return statistic


def sensitivity_at(specificity: float, scores: Numbers, positive: NDArray[np.bool_]) -> Statistic:
    """Share of positives above the lowest score that at least so many of the negatives do not exceed."""
    order = np.argsort(scores[~positive])
    negatives, positives = scores[~positive][order], scores[positive]

    def statistic(weights: Weights) -> Numbers:
        if not negatives.size:
            return np.full(len(weights), np.nan)
        upto = np.cumsum(weights[:, ~positive][:, order], axis=1)
        reached = upto >= specificity * upto[:, -1:] - 1e-9
        threshold = negatives[reached.argmax(axis=1)]
        of_positive = weights[:, positive]
        above = (of_positive * (positives > threshold[:, np.newaxis])).sum(axis=1)
        answer = share(above, of_positive.sum(axis=1), np.nan)
        return np.where(upto[:, -1] > 0, answer, np.nan)

    return statistic


def rank_correlation(first: Numbers, second: Numbers) -> Statistic:
    """Spearman's, of (n,) values each; ties share their mean rank."""

    def statistic(weights: Weights) -> Numbers:
        total = weights.sum(axis=1, keepdims=True)
        ranks = (_ranks(values, weights) for values in (first, second))
        a, b = (each - (weights * each).sum(axis=1, keepdims=True) / total for each in ranks)
        spread = (weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1)
        return share((weights * a * b).sum(axis=1), np.sqrt(spread), np.nan)

    return statistic


def risk_coverage_area(uncertainty: Numbers, loss: Numbers) -> Statistic:
    """Area under the mean loss of the surest cases, over how many of them are kept (Geifman and El-Yaniv, 2017)."""
    order = np.argsort(uncertainty, kind="stable")

    def statistic(weights: Weights) -> Numbers:
        ascending = weights[:, order]
        kept = np.cumsum(ascending, axis=1)
        risk = share(np.cumsum(ascending * loss[order], axis=1), kept, 0.0)
        return np.asarray((ascending * risk).sum(axis=1) / kept[:, -1])

    return statistic


def mean_of_surest(coverage: float, uncertainty: Numbers, values: Numbers) -> Statistic:
    """Mean of (n,) values over the surest cases, such a share of all; the last one in part."""
    order = np.argsort(uncertainty, kind="stable")

    def statistic(weights: Weights) -> Numbers:
        ascending = weights[:, order]
        upto = np.cumsum(ascending, axis=1)
        wanted = coverage * upto[:, -1:]
        kept = np.clip(wanted - (upto - ascending), 0, ascending)
        return np.asarray(kept @ values[order] / wanted[:, 0])

    return statistic


def share(part: Numbers, whole: Numbers, of_nothing: float) -> Numbers:
    """Part by whole, element by element, and a value of its own where the whole is nothing."""
    return np.divide(part, whole, out=np.full_like(part, of_nothing), where=whole > 0)


def _ranks(values: Numbers, weights: Weights) -> Numbers:
    """(resamples, n): each value's mean rank among what was drawn."""
    order = np.argsort(values)
    _, starts, of_case = np.unique(values[order], return_index=True, return_inverse=True)
    held = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.empty_like(weights)
    ranks[:, order] = (np.cumsum(held, axis=1) - held / 2)[:, of_case]
    return ranks
