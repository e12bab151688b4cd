"""The service under load for as long as wanted: mixed sizes and formats, each answer held against its mask."""

import io
import json
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

from benchmarks.processes import Server, service
from benchmarks.requests import example_png, processor
from efsnet.batching import Predicting
from efsnet.image import decode_image
from efsnet.postprocessing import to_grid, to_label_map
from model_store.loading import load
from model_store.seeding import seed
from model_store.store import ModelStore

MEGAPIXELS = (0.1, 0.25, 0.5, 1, 2, 5)
"""Most uploads are small, as they are in life: each size is half as frequent as the one before."""

KINDS = {"png": "PNG", "jpeg": "JPEG", "bmp": "BMP", "tiff": "TIFF", "dicom": "DICOM"}
SAMPLES = 30
GROWTH = 1.05
"""What the memory of the last third of the time may be of that of the middle one; the first warms up."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An upload, and the label map that it must be answered with."""

    content: bytes
    media_type: str
    expected: np.ndarray


@dataclass(slots=True)
class Counts:
    """What became of the requests."""

    right: int = 0
    wrong: int = 0
    refused: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The service at a moment."""

    seconds: float
    pss_mb: float
    files: int
    answered: int


@dataclass(frozen=True, slots=True)
class Soak:
    """What happened: each client waits `pause_s` after an answer."""

    seconds: float
    clients: int
    pause_s: float
    cpu_s: float
    counts: Counts
    samples: tuple[Sample, ...]

    @property
    def memory_mb(self) -> tuple[float, float]:
        """Median of the middle third and of the last: a moment's peak is that of the images of that moment."""
        middle, last = (float(np.median([sample.pss_mb for sample in third])) for third in self._thirds())
        return middle, last

    @property
    def more_files(self) -> int:
        """Open files of the last third, beyond the middle third's."""
        middle, last = self._thirds()
        return max(sample.files for sample in last) - max(sample.files for sample in middle)

    @property
    def held(self) -> bool:
        """Whether every answer was right, and nothing grew."""
        counts = self.counts
        answered_right = counts.right > 0 and counts.wrong == counts.failed == 0
        middle, last = self.memory_mb
        return answered_right and last <= GROWTH * middle and self.more_files <= 0

    def as_json(self) -> str:
        """All of it."""
        return json.dumps({"machine": processor(), "held": self.held, **asdict(self)}, indent=2)

    def as_markdown(self) -> str:
        """A table of a line."""
        counts, cores = self.counts, self.cpu_s / self.seconds
        return "\n".join(
            [
                f"{processor()}, {self.clients} clients with pauses of {self.pause_s:g} s, {cores:.2f} cores taken.",
                "",
                "| seconds | right | wrong | refused | failed | memory MB, middle and last third | files |",
                "|---|---|---|---|---|---|---|",
                f"| {self.seconds:.0f} | {counts.right} | {counts.wrong} | {counts.refused} | {counts.failed} | "
                + ", ".join(f"{each:.0f}" for each in self.memory_mb)
                + f" | {self.samples[-1].files} |",
            ]
        )

    def _thirds(self) -> tuple[Sequence[Sample], Sequence[Sample]]:
        third = len(self.samples) // 3
        return self.samples[third:-third], self.samples[-third:]


def measure(seconds: float, clients: int, pause_s: float = 0.0) -> Soak:
    """Starts the service on a scratch store with the shipped version, and asks it for so long.

    Args:
        seconds: How long.
        clients: That ask, each for one picture after the other.
        pause_s: Between an answer and the next question of the same client.
    """
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "store"
        seed(store)
        pictures = _pictures(load(ModelStore(store).version("efsnet", "production")).predictor)
        with service(store, example_png()) as (server, address):
            each = [Client(address, pictures, pause_s, number) for number in range(clients)]
            before_s, samples = server.cpu_s(), _samples(server, each, seconds)
            total = Counts(*(sum(counts) for counts in zip(*(astuple(client.counts) for client in each), strict=True)))
            return Soak(seconds, clients, pause_s, server.cpu_s() - before_s, total, tuple(samples))


def _samples(server: Server, clients: Sequence["Client"], seconds: float) -> list[Sample]:
    """Lets the clients ask for so long, and looks at the service meanwhile."""
    over = threading.Event()
    asking = [threading.Thread(target=client.ask_until, args=(over,)) for client in clients]
    for thread in asking:
        thread.start()
    since, samples = time.monotonic(), []
    try:
        for number in range(1, SAMPLES + 1):
            time.sleep(max(0.0, since + number * seconds / SAMPLES - time.monotonic()))
            answered = sum(client.counts.right for client in clients)
            samples.append(Sample(time.monotonic() - since, server.pss_mb(), server.open_files(), answered))
    finally:
        over.set()
        for thread in asking:
            thread.join()
    return samples


class Client:
    """Asks for one picture after the other, and counts what comes.

    Args:
        address: Of the service.
        pictures: The small ones more often.
        pause_s: Between an answer and the next question.
        number: Another one draws other pictures.
    """

    def __init__(self, address: str, pictures: Sequence[Picture], pause_s: float, number: int) -> None:
        self._address = address
        self._pictures = pictures
        self._pause_s = pause_s
        self._rng = random.Random(number)  # noqa: S311 (which picture is next is no secret)
        self.counts = Counts()

    def ask_until(self, over: threading.Event) -> None:
        """Does so."""
        weights = [1 / picture.expected.size for picture in self._pictures]
        connection = HTTPConnection(self._address, timeout=60)
        while not over.is_set():
            (picture,) = self._rng.choices(self._pictures, weights)
            try:
                wait_s = self._ask(connection, picture)
            except (OSError, HTTPException):
                self.counts.failed += 1
                connection.close()
                wait_s = 0.0
            over.wait(self._pause_s + wait_s)
        connection.close()

    def _ask(self, connection: HTTPConnection, picture: Picture) -> float:
        """Asks for one, and gives the time in seconds after which the service wants to be asked again."""
        connection.request("POST", "/v1/segment?format=png", picture.content, {"Content-Type": picture.media_type})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status == 429:
            self.counts.refused += 1
            return float(answer.headers["Retry-After"])
        if answer.status != 200:
            self.counts.failed += 1
        elif np.array_equal(np.asarray(PillowImage.open(io.BytesIO(content))), picture.expected):
            self.counts.right += 1
        else:
            self.counts.wrong += 1
        return 0.0


def _pictures(predictor: Predicting) -> list[Picture]:
    """A real image in every size and format, and what the predictor itself finds in it, without a service."""
    image = PillowImage.open(io.BytesIO(example_png()))
    pictures = []
    for megapixels in MEGAPIXELS:
        rows = round((megapixels * 1e6 * 3 / 4) ** 0.5)
        sized = image.resize((rows * 4 // 3, rows), PillowImage.Resampling.BICUBIC)
        for kind, name in KINDS.items():
            plain = _encoded(sized, "PNG" if kind == "dicom" else name)
            content = _instance(np.asarray(sized)) if kind == "dicom" else plain
            media_type = "application/dicom" if kind == "dicom" else f"image/{kind}"
            pictures.append(Picture(content, media_type, _found(predictor, plain)))
    return pictures


def _found(predictor: Predicting, content: bytes) -> np.ndarray:
    """The label map of an image file, on the image's own grid."""
    image = decode_image(content)
    label_map = to_label_map(predictor.predict(image), predictor.specification.post_processing)
    return to_grid(label_map, image.rows, image.columns).array


def _encoded(image: PillowImage.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _instance(pixels: np.ndarray) -> bytes:
    """An ultrasound instance of grey pixels."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = generate_uid(), generate_uid(), "US"
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    made["PixelData"].VR = "OB"
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()
