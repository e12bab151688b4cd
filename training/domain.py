"""What breast ultrasounds look like to `efsnet.domain`, fitted to data sets, and how often that is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from efsnet.domain import GRID, Domain, measures_of
from efsnet.image import Image, decode_image
from efsnet.preprocessing import to_input
from training.datasets.folds import FOLD_COUNT, split
from training.datasets.records import Record
from training.errors import TooFewScenes

SCALES = (1.0, 0.75, 0.5)
"""Sizes in which each image is fitted to: hospitals export what they have at any."""

QUANTILE = 0.995
"""Share of the images that no fit has seen which are within the limit."""

FEWEST = 50
"""Images that a covariance of six measures takes at least, and a limit near the end of their distances."""

MAX_PIXELS = 100_000_000


Measured = Mapping[str, NDArray[np.float64]]
"""Measures of each image, by its key: (scales, measures)."""


@dataclass(frozen=True, slots=True)
class FittedDomain:
    """A domain, and how often its warning is wrong.

    Args:
        domain: Of all images.
        images: How many of each set were tested, one a scene.
        warned: Share of them beyond the limit at each of SCALES, measured by fits to the other four folds.
        warned_elsewhere: The same of all images of a set, by a fit to the other sets with a limit of theirs; empty for
            a single set.
    """

    domain: Domain
    images: Mapping[str, int]
    warned: Mapping[str, tuple[float, ...]]
    warned_elsewhere: Mapping[str, tuple[float, ...]]


def fit(records: Sequence[Record]) -> FittedDomain:
    """The domain of all images that contradict themselves in nothing.

    The limit comes from images that were not fitted to: each of the five folds is measured by the other four.

    Raises:
        TooFewScenes: the sets are too small for five folds.
    """
    certain = [record for record in records if not record.contradictory]
    if len(certain) < FEWEST:
        raise TooFewScenes(len(certain))
    measured = {record.key: _at_scales(record.read_image()) for record in certain}
    names = dict.fromkeys(record.dataset for record in certain)
    distances = _unseen(certain, measured)
    domain = _fitted(certain, measured, distances)
    of_sets = {name: [at for key, at in distances.items() if key.startswith(f"{name}/")] for name in names}
    elsewhere = {}
    for name in names if len(names) > 1 else ():
        others = [record for record in certain if record.dataset != name]
        known = _fitted(others, measured, _unseen(others, measured))
        distances_there = [known.distances(measured[each.key]) for each in certain if each.dataset == name]
        elsewhere[name] = _warned(distances_there, known.limit)
    return FittedDomain(
        domain=domain,
        images={name: len(each) for name, each in of_sets.items()},
        warned={name: _warned(each, domain.limit) for name, each in of_sets.items()},
        warned_elsewhere=elsewhere,
    )


def beyond(domain: Domain, folder: Path) -> tuple[int, int]:
    """How many of a folder's image files, and of its folders', are beyond the limit, and how many there are.

    Raises:
        ImageError: one is none that the service takes.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    measures = [measures_of(to_input(decode_image(path.read_bytes(), max_pixels=MAX_PIXELS), GRID)) for path in files]
    return sum(int(domain.distances(each[np.newaxis])[0] > domain.limit) for each in measures), len(files)


def _at_scales(image: Image) -> NDArray[np.float64]:
    """Measures of the image as it is exported in each of SCALES: (scales, measures)."""
    sizes = [(round(image.columns * scale), round(image.rows * scale)) for scale in SCALES]
    picture = PIL.Image.fromarray(image.pixels)
    exported = [Image(np.asarray(picture.resize(size, PIL.Image.Resampling.BILINEAR))) for size in sizes]
    return np.stack([measures_of(to_input(each, GRID)) for each in exported])


def _fitted(
    records: Sequence[Record], measured: Measured, unseen: Mapping[str, NDArray[np.float64]] | None = None
) -> Domain:
    """Of the records at all scales, with a limit by the distances of images that a fit has not seen."""
    limit = np.inf if unseen is None else float(np.quantile(np.concatenate(list(unseen.values())), QUANTILE))
    return Domain.fitted(np.concatenate([measured[record.key] for record in records]), limit)


def _unseen(records: Sequence[Record], measured: Measured) -> dict[str, NDArray[np.float64]]:
    """Squared distances, (scales,), of one image a scene from the images of the other folds, by its key."""
    distances = {}
    for fold in range(FOLD_COUNT):
        tested = split(records, fold).test
        held_out = {record.group for record in tested}
        known = _fitted([record for record in records if record.group not in held_out], measured)
        distances.update({record.key: known.distances(measured[record.key]) for record in tested})
    return distances


def _warned(distances: Sequence[NDArray[np.float64]], limit: float) -> tuple[float, ...]:
    return tuple(float(share) for share in (np.stack(distances) > limit).mean(axis=0))
