"""What experts made of answers, kept for training where the operator wants that: off unless a folder is named.

The folder has the layout that training reads (docs/training.md, "A folder of your own"):

    images/NAME.png   the picture as the network saw it, in grey: no header, no name of a file or a person
    masks/NAME.png    the expert's label map, a palette PNG of class numbers
    corrections.csv   file, class, patient (a code), decision, version, at
"""

import csv
import hmac
import io
import logging
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

import PIL.Image

from efsnet.image import Image
from efsnet.maps import LabelMap
from efsnet.rendering import palette_png
from efsnet.specification import ClassSpecification
from service import state
from service.errors import CorrectionInvalid, CorrectionsOff, CorrectionsUnusable, StateUnusable

TABLE = "corrections.csv"
COLUMNS = ("file", "class", "patient", "decision", "version", "at")
NORMAL = "normal"
"""The class of an image in which nothing is marked."""

_OURS = re.compile(r"[0-9a-f]{16}(\.[0-9a-f]{32}\.new|\.png)")
"""Names of pictures and masks that are kept here, and of those that are not yet whole."""

Decision = Literal["accepted", "corrected"]
"""Whether the expert left the answer as it was."""


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """An expert's label map of an image.

    Raises:
        CorrectionInvalid: image and label map are not on the same grid, or the label map has a class that is none.
    """

    image: Image
    label_map: LabelMap
    patient: str
    """Whatever tells patients apart. It is not kept: a code made of it is."""
    decision: Decision
    version: str
    """Digest of the version that answered."""
    classes: Sequence[ClassSpecification]

    def __post_init__(self) -> None:
        if (self.image.rows, self.image.columns) != (self.label_map.rows, self.label_map.columns):
            raise CorrectionInvalid("The masks have another size than the picture.")
        if self.label_map.array.max(initial=0) >= len(self.classes):
            raise CorrectionInvalid(f"There are the classes 1 to {len(self.classes) - 1}.")

    @property
    def kind(self) -> str:
        """The gravest class in it: numbers go by gravity."""
        gravest = int(self.label_map.array.max(initial=0))
        return self.classes[gravest].label if gravest else NORMAL


_LOG = logging.getLogger("service.corrections")


class Corrections:
    """The folder of corrections, if there is one. Several services may share it."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @property
    def on(self) -> bool:
        """Whether anything is kept."""
        return self._folder is not None

    def save(self, correction: Correction) -> str:
        """Keeps a correction, on the disk when this returns, whole or not at all. Gives the name of its files.

        The name is made of the content: what is sent again, as after an answer that was lost, is kept once, and what
        is corrected again takes the place of what was kept of the same picture.

        Raises:
            CorrectionsOff: Nothing is kept here.
            CorrectionsUnusable: The folder cannot be written to.
        """
        folder = self._folder
        if folder is None:
            raise CorrectionsOff("Nothing is kept here: whoever runs the service has not named EFSNET_CORRECTIONS.")
        picture, mask = _png(correction.image), palette_png(correction.label_map, correction.classes)
        try:
            with state.writing(folder / TABLE):
                for part in ("images", "masks"):
                    (folder / part).mkdir(mode=0o700, exist_ok=True)
                rows = _rows(folder / TABLE)
                named = {row["file"] for row in rows}
                _tidy(folder, named)
                code = _code(folder, correction.patient)
                of_picture = sha256(code.encode() + picture).hexdigest()[:10]
                name = f"{of_picture}{sha256(mask).hexdigest()[:6]}.png"
                if name in named:
                    return name
                rows = [row for row in rows if not row["file"].startswith(of_picture)]
                state.replace(folder / "images" / name, picture)
                state.replace(folder / "masks" / name, mask)
                # Not before, since what the table names is there: who is killed earlier leaves nothing to be read.
                rows.append(_row(name, correction, code))
                state.replace(folder / TABLE, _table(rows))
                _tidy(folder, {row["file"] for row in rows})
        except StateUnusable as error:
            _LOG.error("%s", error)
            raise CorrectionsUnusable("The folder of corrections cannot be written to; the log says why.") from error
        except OSError as error:
            raise CorrectionsUnusable(f"The folder of corrections cannot be used: {error.strerror}.") from error
        return name


def _row(name: str, correction: Correction, code: str) -> dict[str, str]:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    values = (name, correction.kind, code, correction.decision, correction.version, at)
    return dict(zip(COLUMNS, values, strict=True))


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _table(rows: Sequence[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def _tidy(folder: Path, named: set[str]) -> None:
    """Takes away what a service that was killed left without a line: nobody else writes now.

    Files with names of another kind are somebody else's, and stay.
    """
    for part in ("images", "masks"):
        for file in (folder / part).iterdir():
            if _OURS.fullmatch(file.name) and file.name not in named:
                file.unlink()


def _code(folder: Path, patient: str) -> str:
    """The same for the same patient, and without the folder's secret no way back from it."""
    file = folder / ".secret"
    secret = state.read(file)
    if secret is None:
        secret = secrets.token_bytes(32)
        state.replace(file, secret)
    return hmac.new(secret, patient.strip().casefold().encode("utf-8"), sha256).hexdigest()[:16]


def _png(image: Image) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(image.pixels).save(file, "PNG")
    return file.getvalue()
