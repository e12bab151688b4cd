"""Fixtures for the tests of the core."""

import numpy as np
import pytest
from numpy.typing import NDArray

from efsnet.specification import ClassSpecification, Specification
from model_store.manifest import Draft


@pytest.fixture(scope="session")
def specification(tiny_draft: Draft) -> Specification:
    """Of the tiny model: 64 x 64; background, benign and malignant."""
    return tiny_draft.specification


@pytest.fixture(scope="session")
def classes(specification: Specification) -> tuple[ClassSpecification, ...]:
    """Background, benign and malignant."""
    return specification.classes


@pytest.fixture
def grey() -> NDArray[np.uint8]:
    """A picture of 40 rows and 56 columns in which every pixel differs from those beside it."""
    rows, columns = np.mgrid[:40, :56]
    return np.asarray((rows * 89 + columns * 37) % 256, np.uint8)
