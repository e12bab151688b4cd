"""OASBUD (Piotrzkowska-Wróblewska et al., Medical Physics 44:6105, 2017, doi:10.1002/mp.12538; data: Zenodo 545928).

Raw echoes of 100 lesions of 78 women from Warsaw, two perpendicular planes of each, with an Ultrasonix SonixTouch and
a linear array L14-5/38. Published layout: `OASBUD.mat` with the struct array `data`: the radio-frequency lines `rf1`
and `rf2` (samples, lines), the lesions `roi1` and `roi2` of the same size, `class` (0 benign, 1 malignant) and `id`.

What other machines show as an image is made here of the echoes: their envelope, its logarithm over DYNAMIC_RANGE_DB,
and rows as far apart as the lines are. The lines are 38 mm wide and sampled with 40 MHz.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from scipy.signal import hilbert

from efsnet.image import Image, PixelSpacing
from training.datasets.records import CLASS_NUMBERS, Record
from training.errors import DatasetInvalid

NAME = "OASBUD"
FILE = "OASBUD.mat"
DEVICE = "Ultrasonix SonixTouch"
WIDTH_MM = 38.0
"""Of the array, and so of all lines together."""

SAMPLE_MM = 1540e3 / 40e6 / 2
"""Depth between two samples: the way of sound at 1,540 m/s in 1/40 MHz, there and back."""

DYNAMIC_RANGE_DB = 50.0
"""What is so much weaker than the strongest echo is black."""

PLANES = (1, 2)
FIELDS = ("rf1", "rf2", "roi1", "roi2", "class", "id")


def is_oasbud(folder: Path) -> bool:
    """Whether a folder has this layout."""
    return (folder / FILE).is_file()


@dataclass(frozen=True)
class EchoRecord(Record):
    """A record that is made of echoes.

    Args:
        lesion: Index in the struct array.
        plane: 1 or 2.
    """

    lesion: int = 0
    plane: int = 1

    def read_image(self) -> Image:
        entry = _entries(self.image)[self.lesion]
        echoes = np.asarray(entry[f"rf{self.plane}"], dtype=np.float64)
        grey = b_mode(echoes)
        return Image(np.asarray(_isotropic(grey, PillowImage.Resampling.BILINEAR)), self.spacing)

    def read_reference(self) -> NDArray[np.uint8]:
        entry = _entries(self.image)[self.lesion]
        lesion = (np.asarray(entry[f"roi{self.plane}"]) > 0).astype(np.uint8) * np.uint8(CLASS_NUMBERS[self.kind])
        return np.asarray(_isotropic(lesion, PillowImage.Resampling.NEAREST))


def b_mode(echoes: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Grey values of (samples, lines) radio-frequency echoes: 255 at the strongest, 0 from DYNAMIC_RANGE_DB below."""
    envelope = np.abs(hilbert(echoes, axis=0))
    decibels = 20 * np.log10(np.maximum(envelope, 1e-12) / max(float(envelope.max()), 1e-12))
    return np.asarray(np.clip(decibels / DYNAMIC_RANGE_DB + 1, 0, 1) * 255, dtype=np.uint8)


def read_oasbud(folder: Path) -> tuple[Record, ...]:
    """Two images of each lesion, in their order.

    Raises:
        DatasetInvalid: with every problem found, not only the first.
    """
    path = folder / FILE
    try:
        entries = _entries(path)
    except (OSError, ValueError, KeyError, NotImplementedError, TypeError, IndexError, MatReadError) as error:
        raise DatasetInvalid(folder, [f"{path}: cannot be read as OASBUD's: {error}"]) from error
    problems, records = [], []
    for index, entry in enumerate(entries):
        missing = [name for name in FIELDS if name not in entry]
        if missing:
            problems.append(f"{path}: lesion {index + 1} has no {', '.join(missing)}.")
            continue
        for plane in PLANES:
            echoes, lesion = entry[f"rf{plane}"], entry[f"roi{plane}"]
            if np.shape(echoes) != np.shape(lesion) or np.ndim(echoes) != 2:
                problems.append(f"{path}: rf{plane} and roi{plane} of lesion {index + 1} differ in size.")
            elif not np.any(lesion):
                problems.append(f"{path}: roi{plane} of lesion {index + 1} is empty.")
            else:
                records.append(_record(path, index, plane, entry))
    if problems or not records:
        raise DatasetInvalid(folder, problems or [f"{path}: no lesions."])
    return tuple(records)


def _record(path: Path, index: int, plane: int, entry: dict[str, Any]) -> Record:
    _, lines = np.shape(entry[f"rf{plane}"])
    name = f"{index + 1:03d}-{plane}"
    return EchoRecord(
        name=name,
        image=path,
        masks=(),
        kind="malignant" if int(np.ravel(entry["class"])[0]) == 1 else "benign",
        scene=name,
        dataset=NAME,
        patient=str(np.ravel(entry["id"])[0]),
        device=DEVICE,
        spacing=PixelSpacing(WIDTH_MM / lines, WIDTH_MM / lines),
        lesion=index,
        plane=plane,
    )


@cache
def _entries(path: Path) -> tuple[dict[str, Any], ...]:
    """The struct array as dictionaries; in memory once, since each image needs the whole file."""
    data = np.ravel(loadmat(path, squeeze_me=True)["data"])
    return tuple({name: entry[name] for name in entry.dtype.names} for entry in data)


def _isotropic(pixels: NDArray[np.uint8], resample: PillowImage.Resampling) -> PillowImage.Image:
    """With rows as far apart as columns are."""
    samples, lines = pixels.shape
    rows = max(1, round(samples * SAMPLE_MM / (WIDTH_MM / lines)))
    return PillowImage.fromarray(pixels).resize((lines, rows), resample)
