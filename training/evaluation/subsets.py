"""Parts of the cases that behave differently, to be reported beside the whole."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from training.evaluation.cases import Case

SMALL_SHARE = 0.01
LARGE_SHARE = 0.10
"""Of the image: lesions below are small, from here on large."""

ANNOTATIONS = frozenset({"measurement", "text", "doppler", "pictogram", "overlay"})
"""Remarks that name something burned into the image."""


def subsets(cases: Sequence[Case]) -> Mapping[str, tuple[Case, ...]]:
    """Named parts of the cases; a case is in several. A part that is empty, or the whole, is not told."""
    named: dict[str, tuple[Case, ...]] = {}
    for name, belongs in _parts(cases):
        members = tuple(case for case in cases if belongs(case))
        if 0 < len(members) < len(cases):
            named[name] = members
    return named


def folds(cases: Sequence[Case]) -> Mapping[str, tuple[Case, ...]]:
    """The cases of each fold and seed, if there is more than one of them."""
    keys = sorted({(case.seed, case.fold) for case in cases}, key=str)
    several_seeds = len({seed for seed, _ in keys}) > 1
    return (
        {}
        if len(keys) < 2
        else {
            f"fold {fold}" + (f", seed {seed}" if several_seeds else ""): tuple(
                case for case in cases if (case.seed, case.fold) == (seed, fold)
            )
            for seed, fold in keys
        }
    )


def _parts(cases: Sequence[Case]) -> Iterator[tuple[str, Callable[[Case], bool]]]:
    for dataset in sorted({case.dataset for case in cases}):
        yield f"data set {dataset}", lambda case, dataset=dataset: case.dataset == dataset  # type: ignore[misc]
    for kind in ("benign", "malignant", "normal"):
        yield f"{kind} images", lambda case, kind=kind: case.kind == kind  # type: ignore[misc]
    yield "small lesions, below 1 % of the image", lambda case: 0 < case.reference_share < SMALL_SHARE
    yield "lesions of 1 to 10 % of the image", lambda case: SMALL_SHARE <= case.reference_share < LARGE_SHARE
    yield "large lesions, 10 % of the image and more", lambda case: case.reference_share >= LARGE_SHARE
    yield "several lesions", lambda case: case.lesions > 1
    looked_at = {case.dataset for case in cases if ANNOTATIONS & set(case.remarks)}  # other sets may not tell
    yield "nothing burned in", lambda case: case.dataset in looked_at and not ANNOTATIONS & set(case.remarks)
    yield "anything burned in", lambda case: bool(ANNOTATIONS & set(case.remarks))
    for remark in sorted({remark for case in cases for remark in case.remarks}):
        yield f"remark: {remark}", lambda case, remark=remark: remark in case.remarks  # type: ignore[misc]
    for device in sorted({case.device for case in cases if case.device}):
        yield f"device {device}", lambda case, device=device: case.device == device  # type: ignore[misc]
