"""Tests of how images of another kind are told."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from efsnet.domain import GRID, MEASURES, Domain, breast_ultrasound, measures_of, on_grid
from efsnet.errors import ArrayInvalid
from efsnet.image import Finding, Image, decode_image
from efsnet.preprocessing import to_input
from tests.efsnet.foreign import KINDS, OF_EACH_KIND, made


def told(data: bytes) -> bool:
    """Whether a reader learns that something is wrong: by its texture, its colours, or because nothing is there."""
    image = decode_image(data)
    return not breast_ultrasound().holds(to_input(image, GRID)) or not {Finding.COLOUR, Finding.FLAT}.isdisjoint(
        image.findings
    )


@pytest.mark.requirement("SEG-12")
def test_at_least_95_of_100_images_of_other_kinds_are_told(busi: Path) -> None:
    """Photographs, CT, radiographs, text, blood flow, black frames and collages; and of each kind the most."""
    caught = Counter(kind for kind, data in made(busi) if told(data))

    assert caught.total() >= 0.95 * OF_EACH_KIND * len(KINDS)
    assert all(caught[kind] > OF_EACH_KIND / 2 for kind in KINDS)


@pytest.mark.parametrize("share", [1, 0.75])
@pytest.mark.requirement("SEG-12")
def test_breast_ultrasounds_are_not_told(busi: Path, share: float) -> None:
    """None of the real images that are here, as they are and made smaller."""
    told_of = []
    for path in sorted(path for path in busi.glob("*/*.png") if "_mask" not in path.name):
        with PillowImage.open(path) as picture:
            small = picture.convert("L").resize((round(picture.width * share), round(picture.height * share)))
        if not breast_ultrasound().holds(to_input(Image(np.asarray(small)), GRID)):
            told_of.append(path.name)

    assert [] == told_of


def test_measures_do_not_depend_on_the_gain(busi: Path) -> None:
    """An image at three quarters of its brightness keeps its measures, nearly."""
    image = decode_image((busi / "benign" / "benign (51).png").read_bytes())
    darker = Image((image.pixels * 0.75).astype(np.uint8))

    assert np.allclose(measures_of(to_input(image, GRID)), measures_of(to_input(darker, GRID)), atol=0.15)


def test_a_version_of_another_input_changes_nothing(busi: Path) -> None:
    """An image is looked at on one grid, be it what the network takes or not."""
    image = decode_image((busi / "benign" / "benign (51).png").read_bytes())
    tensor = to_input(image, GRID)

    assert on_grid(image, tensor) is tensor
    small = to_input(image, GRID.model_copy(update={"rows": 256, "columns": 256}))
    assert np.array_equal(on_grid(image, small), tensor)


@pytest.mark.parametrize("value", [0, 127, 255])
def test_an_image_without_any_texture_has_measures_too(value: int) -> None:
    """They are finite: nothing is divided by nothing."""
    assert np.isfinite(measures_of(np.full((1, 512, 512), value, np.uint8))).all()


def test_a_domain_is_the_mean_and_covariance_of_what_it_was_fitted_to() -> None:
    """Known distances: uncorrelated measures of variance 4 are a quarter of the squared distance away."""
    count = len(MEASURES)
    measures = np.vstack([np.eye(count), -np.eye(count)]) * np.sqrt(4 * (2 * count - 1) / 2)
    domain = Domain.fitted(measures, limit=1)

    assert np.allclose(domain.means, 0)
    assert np.allclose(domain.distances(np.eye(count) * 3), 9 / 4)


def test_a_domain_reads_what_it_writes() -> None:
    """With the names of its measures, for whoever opens the file."""
    domain = breast_ultrasound()
    again = Domain.parse(str(domain))

    assert again.limit == domain.limit
    assert np.array_equal(again.means, domain.means)
    assert np.array_equal(again.inverse_covariance, domain.inverse_covariance)
    assert json.loads(str(domain))["measures"] == list(MEASURES)


def test_a_domain_has_all_measures() -> None:
    """One that was written for other measures is no domain."""
    with pytest.raises(ArrayInvalid, match="6 means"):
        Domain(np.zeros(5), np.eye(5), 1.0)
