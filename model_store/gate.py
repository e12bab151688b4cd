"""What a version must show before an alias may name it: that it was measured, and is not worse than what serves.

Two versions are compared only where both were measured on the same images, data set by data set.
"""

from collections.abc import Iterator, Mapping

from model_store.errors import MetricsMissing, WorseThanProduction
from model_store.manifest import Evaluated, Metric
from model_store.version import Version

NEEDED = "lesion_dice"
"""The figure without which a version counts as not measured."""

MARGINS = {"lesion_dice": -0.01, "type_right_when_found": -0.03, "missed_lesions": 0.02, "false_alarms": 0.06}
"""What a figure may change by, in the direction that is worse: beyond it a version is refused.

On BUSI's held-out part one tumour of 95 that is missed more, and one normal image of 19 that is alarmed more, are
within.
"""


def check(candidate: Version, production: Version | None) -> str | None:
    """Lets a version pass, or says why not; what it could not compare, it tells.

    Args:
        candidate: That is to be promoted.
        production: What serves now, if anything does.

    Returns:
        Why the two were not compared, or not by each figure; None if they were, or if there is nothing to compare.

    Raises:
        MetricsMissing: Nobody has measured it, or not by a figure that production has of the same images.
        WorseThanProduction: On the same images it is worse, by more than the margins above.
    """
    if NEEDED not in candidate.manifest.metrics:
        raise MetricsMissing(
            f"{candidate} says nothing of its {NEEDED}: evaluate it before it is published, or give a reason to "
            "promote it all the same."
        )
    if production is None or candidate.digest == production.digest:
        return None
    served = {each.digest: each.metrics for each in production.manifest.evaluated}
    both = [(each, served[each.digest]) for each in candidate.manifest.evaluated if each.digest in served]
    for measured, metrics in both:
        if missing := [name for name in MARGINS if name in metrics and name not in measured.metrics]:
            raise MetricsMissing(
                f"{candidate} says nothing of {', '.join(missing)} on {measured.name}, which {production}, in "
                "production, was measured by on the same images: evaluate it whole, or give a reason to promote it "
                "all the same."
            )
    worse = [figure for measured, metrics in both for figure in _worse(measured, metrics)]
    if worse:
        raise WorseThanProduction(
            f"{candidate} is worse than {production}, which is in production, on the same images: "
            f"{', '.join(worse)}. Give a reason to promote it all the same."
        )
    if not both:
        return f"{candidate} and {production}, in production, were measured on no same images."
    lacking = [
        f"{name} on {measured.name}"
        for measured, metrics in both
        for name in MARGINS
        if name in measured.metrics and name not in metrics
    ]
    return f"{production}, in production, has no {', '.join(lacking)}." if lacking else None


def _worse(candidate: Evaluated, production: Mapping[str, Metric]) -> Iterator[str]:
    for name, margin in MARGINS.items():
        if name in production:
            new, old = candidate.metrics[name].value, production[name].value
            if round((new - old) / margin, 9) > 1:  # a change of just the margin is within, however it is rounded
                yield f"{name} on {candidate.name} {new:.3f} and not {old:.3f} (margin {abs(margin)})"
