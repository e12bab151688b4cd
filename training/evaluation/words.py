"""An evaluation in sentences: what was found, and what must not be concluded from it."""

from collections.abc import Mapping, Sequence

from training.evaluation.cases import Case
from training.evaluation.sample import Figure

CAVEATS = {
    "BUSI": (
        "BUSI is of one hospital and two machines. It names no patients: images of one scene are kept together, but "
        "two scenes of one woman may be on both sides of a split, and the intervals take them for two women."
    ),
    "BUS-BRA": (
        "BUS-BRA is of one hospital and four machines, and every lesion in it was biopsied. It has no image without a "
        "tumour, so it says nothing about false alarms."
    ),
}
"""What must not be forgotten of a data set, by its name."""

OF_ALL = (
    "Other hospitals, machines and patients than these may fare otherwise, better or worse.",
    "Rows whose intervals overlap are not shown to differ. Rows of few images show where to look, and rank nothing.",
    (
        "The reference is an outline that an expert drew, and experts agree with each other only in part: where the "
        "two differ, it need not be the network that is wrong."
    ),
    "Millimetres are given only where a file says its pixel spacing. A share of the image depends on its zoom.",
    "This is research: it assists an expert and decides nothing.",
)
"""What holds for every evaluation."""


def in_words(cases: Sequence[Case], figures: Mapping[str, Figure]) -> tuple[str, ...]:
    """What the figures say, in sentences for someone who reads no more than these."""
    tumour = [case for case in cases if case.kind != "normal"]
    normal = [case for case in cases if case.kind == "normal"]
    found = [case for case in tumour if case.found]
    right = [case for case in found if case.predicted_kind == case.kind]
    alarmed = [case for case in normal if case.largest_share]
    sentences = []
    if tumour:
        missed, dice, median = (figures[name] for name in ("missed_lesions", "lesion_dice", "lesion_dice_median"))
        sentences.append(
            f"Of {len(tumour)} images with a tumour, the tumour was found in {len(found)} and missed in "
            f"{len(tumour) - len(found)} ({missed.shown()}; 95 % interval {missed.interval()})."
        )
        sentences.append(
            f"On average the marked area and the expert's overlap with a Dice of {dice.shown()} ({dice.interval()}), "
            f"a miss counting 0. Half of the tumours reach {median.shown()} or more; 1 is the very same outline."
        )
    if found:
        named = figures["type_right_when_found"]
        sentences.append(
            f"Of the {len(found)} found tumours, {len(right)} were rightly named benign or malignant "
            f"({named.shown()}; {named.interval()})."
        )
    if normal:
        alarm = figures["false_alarms"]
        sentences.append(
            f"Of {len(normal)} images of healthy breasts, {len(alarmed)} were marked all the same "
            f"({alarm.shown()}; {alarm.interval()})."
        )
    else:
        sentences.append("There is no image of a healthy breast among these: nothing is known of false alarms.")
    return tuple(sentences)


def caveats(cases: Sequence[Case]) -> tuple[str, ...]:
    """What a reader must not conclude."""
    sets = sorted({case.dataset for case in cases})
    return (*(CAVEATS[name] for name in sets if name in CAVEATS), *OF_ALL)
