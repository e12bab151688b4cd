"""Tests of what a version says of itself."""

import pytest
from pydantic import ValidationError

from efsnet.specification import ClassSpecification, InputSpecification, Specification


def test_classes_are_numbered_from_background(specification: Specification) -> None:
    """A gap or another order would give pixels the wrong class."""
    background, benign, malignant = specification.classes
    for classes in [(benign, malignant), (background, malignant), (background, malignant, benign), (background,)]:
        with pytest.raises(ValidationError, match="numbered 0"):
            Specification(input=specification.input, classes=classes, post_processing=specification.post_processing)


def test_lesion_classes_are_those_without_background(specification: Specification) -> None:
    """In the order of their numbers."""
    assert [each.label for each in specification.lesion_classes] == ["benign", "malignant"]


def test_a_specification_reads_back_from_its_json(specification: Specification) -> None:
    """It travels in the manifest."""
    assert Specification.model_validate_json(specification.model_dump_json()) == specification


def test_an_unknown_key_is_refused(specification: Specification) -> None:
    """A rule that the code does not know would be left out in silence."""
    content = {**specification.input.model_dump(), "gamma": 2.2}
    with pytest.raises(ValidationError, match="gamma"):
        InputSpecification.model_validate(content)


@pytest.mark.parametrize("side", [0, 24, 500, 4104])
def test_a_side_that_the_network_cannot_take_is_refused(specification: Specification, side: int) -> None:
    """Sides are multiples of 8, from 32 to 4096."""
    with pytest.raises(ValidationError):
        InputSpecification.model_validate({**specification.input.model_dump(), "rows": side})


@pytest.mark.parametrize("colour", [(0, 0), (0, 0, 256), (-1, 0, 0)])
def test_a_colour_has_three_channels_of_a_byte(colour: tuple[int, ...]) -> None:
    """It ends up in a palette."""
    with pytest.raises(ValidationError):
        ClassSpecification.model_validate({"number": 0, "label": "background", "colour": colour})
