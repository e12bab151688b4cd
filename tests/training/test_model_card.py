"""A model card says in words what the manifest says in numbers, and what both cannot."""

from typing import Any

import pytest

from model_store.manifest import Draft, TrainingData
from training.configuration import read_configuration
from training.model_card import model_card

DIGEST = f"sha256:{'ab' * 32}"


@pytest.fixture
def draft(tiny_draft: Draft) -> Draft:
    """Of a version that learnt from 433 images."""
    learnt = TrainingData(name="BUSI, training part", images=433, digest=DIGEST)
    return tiny_draft.model_copy(update={"training_data": (learnt,), "temperature": 1.25})


@pytest.fixture
def measured() -> dict[str, Any]:
    """The content of `metrics.json`, with a definition that holds the sign between a table's cells."""
    dice = {"value": 0.7104, "low": 0.66, "high": 0.76, "count": 93, "definition": "2 |P∩R| / (|P| + |R|)"}
    return {"part": "test", "folds": [0], "grid": [64, 96], "images": 114, "figures": {"lesion_dice": dice}}


@pytest.fixture
def card(draft: Draft, measured: dict[str, Any]) -> str:
    """Of that version, trained by the shipped recipe."""
    return model_card(draft, measured, read_configuration("default"))


@pytest.mark.parametrize(
    "fact",
    [
        "# Brightness, recipe `default`",
        "4 parameters, 1 input channel",
        "stretched to 64 x 64",
        "0 background, 1 benign, 2 malignant",
        "Temperature 1.25.",
        "tumour from a probability of 0.5",
        "below 0.30% of the image",
        f"BUSI, training part: 433 images, `{DIGEST}`.",
        f"commit `{'0' * 40}`",
        "On 114 images that it never saw",
        "of fold 0 of BUSI's five, at 64 x 96 pixels",
    ],
)
def test_the_card_has_the_facts(card: str, fact: str) -> None:
    """Of network, operating point, data, code and evaluation."""
    assert fact in card


@pytest.mark.requirement("TRAIN-8")
def test_intended_use_limits_and_licence_are_never_left_out(card: str, draft: Draft) -> None:
    """Whoever has the card knows what the model is not for."""
    assert draft.intended_use in card
    assert draft.licence in card
    assert "one hospital" in card
    assert "BUSI names no patients" in card


def test_a_figure_is_a_row_with_interval_and_count(card: str) -> None:
    """Bars of a definition do not end its cell."""
    assert "| lesion_dice | 0.710 | 0.660 to 0.760 | 93 | 2 \\|P∩R\\| / (\\|P\\| + \\|R\\|) |" in card.splitlines()


def test_images_outside_of_busi_are_of_no_fold(draft: Draft, measured: dict[str, Any]) -> None:
    """One's own data set has no folds to speak of."""
    card = model_card(draft, {**measured, "folds": []}, read_configuration("default"))

    assert "nothing was chosen, at 64 x 96 pixels" in card
    assert "of fold" not in card
