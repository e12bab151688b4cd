"""What the versions made here say of themselves: classes, input and post-processing."""

from efsnet.specification import ClassSpecification, CodedConcept, InputSpecification, PostProcessing, Specification

MASS = CodedConcept(value="4147007", scheme="SCT", meaning="Mass")
BENIGN = CodedConcept(value="30807003", scheme="SCT", meaning="Benign")
MALIGNANT = CodedConcept(value="21594007", scheme="SCT", meaning="Malignant")

CLASSES = (
    ClassSpecification(number=0, label="background", colour=(0, 0, 0)),
    ClassSpecification(number=1, label="benign", colour=(86, 180, 233), concept=MASS, modifier=BENIGN),
    ClassSpecification(number=2, label="malignant", colour=(230, 159, 0), concept=MASS, modifier=MALIGNANT),
)
"""Sky blue and orange of Okabe and Ito's palette, which colour-blind people tell apart."""


def input_specification(side: int) -> InputSpecification:
    """The product's preprocessing at one size: both sides stretched to it, grey values 0 to 1."""
    return InputSpecification(rows=side, columns=side, resize="stretch", filter="bilinear", value_range=(0.0, 1.0))


def specification(side: int, rules: PostProcessing) -> Specification:
    """All that a version made here specifies."""
    return Specification(input=input_specification(side), classes=CLASSES, post_processing=rules)
