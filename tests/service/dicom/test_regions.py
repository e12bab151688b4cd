"""Which part of a picture is tissue, and how large it is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.dicom.regions import Region, choose_region
from tests.service.dicom.conftest import Analyse
from tests.service.dicom.instances import instance, region


def ellipse(rows: int, columns: int, centre: tuple[float, float], radii: tuple[float, float]) -> NDArray[np.uint8]:
    """Dark, with an ellipse that the tiny model takes for benign from half of its edge on; positions: row, column."""
    row, column = np.mgrid[:rows, :columns]
    inside = ((row - centre[0]) / radii[0]) ** 2 + ((column - centre[1]) / radii[1]) ** 2 <= 1
    return np.where(inside, 170, 30).astype(np.uint8)


@pytest.mark.parametrize(
    ("box", "delta_x_cm", "delta_y_cm"),
    [
        ((0, 0, 639, 639), 0.01, 0.01),
        ((0, 0, 639, 639), 0.02, -0.01),
        ((0, 0, 639, 639), -0.005, 0.03),
        ((64, 0, 639, 575), 0.01, -0.02),
    ],
)
@pytest.mark.requirement("AREA-3")
def test_the_area_of_an_ellipse_is_that_of_its_radii(
    analyse: Analyse, box: tuple[int, int, int, int], delta_x_cm: float, delta_y_cm: float
) -> None:
    """Within 1 %, for any spacing, with other regions beside."""
    picture = ellipse(640, 640, (320, 340), (160, 120))
    curve = region((0, 0, 639, 639), RegionSpatialFormat=3, RegionDataType=3, PhysicalDeltaX=9.0)
    small = region((0, 600, 100, 639), PhysicalDeltaX=5.0)
    tissue = region(box, PhysicalDeltaX=delta_x_cm, PhysicalDeltaY=delta_y_cm)
    measurement = analyse(instance(picture, regions=[curve, small, tissue])).findings[0].measurement
    expected = np.pi * (160 * abs(delta_y_cm) * 10) * (120 * abs(delta_x_cm) * 10)

    assert measurement.lesions[0].area_mm2 == pytest.approx(expected, rel=0.01)
    assert 1 == len(measurement.lesions)


def test_nothing_is_marked_outside_of_the_tissue(analyse: Analyse) -> None:
    """A bright scale beside the region is none of its business."""
    picture = ellipse(320, 320, (160, 160), (60, 60))
    picture[:, 300:] = 255
    finding = analyse(instance(picture, regions=[region((0, 0, 290, 319))])).findings[0]

    assert ["benign"] == [lesion.label for lesion in finding.measurement.lesions]
    assert not finding.label_map.array[:, 291:].any()


def test_the_largest_region_of_tissue_is_chosen() -> None:
    """The first of equally large ones; that there are others is said."""
    choice = choose_region([region((0, 0, 49, 49)), region((60, 0, 159, 99)), region((0, 60, 99, 159))], 200, 200)

    assert choice is not None
    assert Region(0, 60, 100, 100) == choice.region
    assert choice.several
    assert choice.stated
    assert not choice.colour_flow


def test_colour_flow_over_the_tissue_is_noticed() -> None:
    """Beside it, it is not."""
    tissue = region((0, 0, 99, 99))
    over, beside = region((50, 50, 80, 80), RegionDataType=2), region((100, 0, 150, 99), RegionDataType=2)

    assert [True, False] == [
        choice.colour_flow for other in (over, beside) if (choice := choose_region([tissue, other], 200, 200))
    ]


@pytest.mark.parametrize(
    "others",
    [
        {"PhysicalUnitsXDirection": 4, "PhysicalUnitsYDirection": 3},
        {"PhysicalUnitsXDirection": 0, "PhysicalUnitsYDirection": 0},
        {"PhysicalDeltaX": 0.0},
        {"PhysicalDeltaY": float("nan")},
        {"PhysicalDeltaY": float("inf")},
        {"PhysicalDeltaX": 1e-300},
        {"PhysicalDeltaX": 1e300},
        {"PhysicalDeltaY": 5.0},
    ],
)
def test_a_spacing_that_is_not_said_in_centimetres_is_not_known(others: dict[str, float]) -> None:
    """Nor one that is no distance, or that no picture of ultrasound can have."""
    choice = choose_region([region((0, 0, 99, 99), **others)], 200, 200)

    assert choice is not None
    assert choice.spacing is None


def test_regions_are_cut_at_the_picture_and_slips_are_no_regions() -> None:
    """A last column beyond the picture, corners the wrong way round, a sliver."""
    cut = choose_region([region((10, 10, 999, 999))], 100, 200)

    assert cut is not None
    assert Region(10, 10, 90, 190) == cut.region
    assert choose_region([region((90, 90, 10, 10))], 100, 200) is None
    assert choose_region([region((0, 0, 5, 99))], 100, 200) is None
    assert choose_region([], 100, 200) is not None
