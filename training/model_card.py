"""The model card of a version, for a person: what it is, what it may be used for, how good it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from model_store.manifest import Draft
from training.configuration import Configuration
from training.evaluation.figures import HEADLINE

_LIMITS = """\
- BUSI is of one hospital and two machines (Baheya Hospital, Cairo; LOGIQ E9 and LOGIQ E9 Agile), of women of 25 to 75
  years; BUS-BRA of one hospital and four machines (National Institute of Cancer, Rio de Janeiro), of biopsied lesions,
  many with callipers burned in. What learnt from them is untested elsewhere, on men and on children.
- BUSI names no patients. Scenes are kept apart, but two scenes of one woman may be on both sides of the split.
- Colour Doppler, elastography, split screens and burned-in callipers are outside of what it learnt, or rare in it.
- Masks follow the outlines that experts drew, who agree with each other only in part.
- Areas in square millimetres are as good as the pixel spacing that the caller gives.
"""


def _of_folds(folds: Sequence[int]) -> str:
    return f" of fold {', '.join(map(str, folds))} of BUSI's five" if folds else ""


def _who_was_measured(measured: Mapping[str, Any], *, of_recipe: bool) -> str:
    images = f"{measured['images']} images"
    size = f"at {measured['grid'][0]} x {measured['grid'][1]} pixels"
    if of_recipe:
        return (
            "It has learnt from every image at hand, so that none is left to measure it on. These figures are its "
            f"recipe's: of networks trained the same way, each without one fold{_of_folds(measured['folds'])}, "
            f"measured together on {images} that each of them had not seen, {size}."
        )
    return (
        f"On {images} that it never saw and on which nothing was chosen{_of_folds(measured['folds'])}, {size}; "
        "one of each scene, without burned-in marks where the scene has such a one."
    )


def _tables(measured: Mapping[str, Any]) -> str:
    """A table for each data set: of several together the figures say what no hospital sees."""
    sets = measured.get("sets", {})
    if len(sets) < 2:
        return _table(measured["figures"])
    return "\n\n".join(f"### On {name}\n\n{_table(figures)}" for name, figures in sets.items())


def _table(figures: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {facts['value']:.3f} | {facts['low']:.3f} to {facts['high']:.3f} | {facts['count']} "
        f"| {facts['definition'].replace('|', chr(92) + '|')} |"
        for name, facts in figures.items()
        if name in HEADLINE
    ]
    return "\n".join(["| figure | value | interval | images | what it is |", "|---|---:|---:|---:|---|", *rows])


def model_card(
    draft: Draft, measured: Mapping[str, Any], configuration: Configuration, *, of_recipe: bool = False
) -> str:
    """Markdown, made from the authored part of the manifest and the content of `metrics.json`.

    Args:
        draft: Of the version.
        measured: What `metrics.json` says.
        configuration: The recipe of its run.
        of_recipe: Whether the figures are of a cross-validation by the same recipe, not of these weights.
    """
    network, specified = draft.network, draft.specification
    learnt = "; ".join(f"{each.name}: {each.images} images, `{each.digest}`" for each in draft.training_data)
    classes = ", ".join(f"{each.number} {each.label}" for each in specified.classes)
    rules = specified.post_processing
    return f"""\
# {network.name}, recipe `{configuration.name}`

{draft.intended_use}

## What it is

{network.name} (J. González-Novo Hueso, master's thesis, UNED, 2024, after Hu and Wang, IEEE Access 8, 2020): \
{network.parameters:,} parameters, {network.in_channels} input channel.
An image is stretched to {specified.input.rows} x {specified.input.columns} and answered with the classes {classes}.
Temperature {draft.temperature}. A pixel is tumour from a probability of {rules.tumour_threshold}; lesions below \
{rules.minimum_area_fraction:.2%} of the image are dropped.

## What it learnt from

{learnt}.
Code: commit `{draft.code_commit}`.

## How good it is

{_who_was_measured(measured, of_recipe=of_recipe)}
P is the predicted lesion, R the expert's. Intervals are 95 %.

{_tables(measured)}

`metrics.json` beside this card has all figures.

## What to keep in mind

{_LIMITS}
## Licence

{draft.licence}
"""
