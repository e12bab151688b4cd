"""The loop with a real Orthanc: from an image stored there to its SEG and SR, and what that costs those who store."""

import io
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage

from benchmarks.processes import REPOSITORY, Server, free_port, service
from benchmarks.requests import example_png, processor
from model_store.seeding import seed

PLUGINS = "/usr/share/orthanc/plugins"
ANSWERED_WITHIN_S = 60.0
LOOK_S = 0.01


class Pacs:
    """One connection to an Orthanc."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._connection = HTTPConnection(address)

    def store(self, content: bytes) -> float:
        """Stores an instance, and returns how many milliseconds that took."""
        since = time.perf_counter()
        self._ask("POST", "/instances", content)
        return 1000 * (time.perf_counter() - since)

    def modalities(self) -> list[str]:
        """Of all series."""
        return [series["MainDicomTags"]["Modality"] for series in self._ask("GET", "/series?expand")]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        self._connection.request(method, path, body)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"Orthanc answered {answer.status} to {path}.")
        return json.loads(content)


def measure(images: int) -> str:
    """The Markdown of the figures, of so many images one after the other."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seed(folder / "store")
        hint = str(REPOSITORY / "docker" / "orthanc" / "hint.lua")
        with _orthanc(folder / "alone") as pacs:
            alone = [pacs.store(_scan(number)) for number in range(images)]
        port = free_port()
        with _orthanc(folder / "hinting", LuaScripts=[hint], EFSNET_URL=f"http://127.0.0.1:{port}") as pacs:
            settings = {
                "EFSNET_PACS_URL": f"http://{pacs.address}/dicom-web",
                "EFSNET_PACS_ORTHANC_URL": f"http://{pacs.address}",
                "EFSNET_PACS_WRITE": "true",
            }
            with service(folder / "store", example_png(), port=port, **settings) as (_, address):
                orders = [_order(address, number) for number in range(images)]
                stored, answered = zip(*(_answered(pacs, number) for number in range(images)), strict=True)
    rows = {
        "stored in Orthanc, nothing else there": alone,
        "stored in Orthanc, with the hint and the service": stored,
        "`POST /v1/jobs`, until its 202": orders,
        "from the image stored to its SR there": answered,
    }
    return "\n".join(
        [
            f"{processor()}, {os.cpu_count()} cores, load {before:.1f} before and {os.getloadavg()[0]:.1f} after.",
            f"{images} images of 800x600 pixels, one after the other.",
            "",
            "| | median ms | p95 ms | most ms |",
            "|---|---:|---:|---:|",
            *(
                f"| {name} | {np.median(ms):.0f} | {np.percentile(ms, 95):.0f} | {max(ms):.0f} |"
                for name, ms in rows.items()
            ),
        ]
    )


def _answered(pacs: Pacs, number: int) -> tuple[float, float]:
    """Milliseconds to store an image, and from then until its SR is there."""
    reports = pacs.modalities().count("SR")
    took_ms = pacs.store(_scan(number))
    since = time.perf_counter()
    while pacs.modalities().count("SR") == reports:
        if time.perf_counter() - since > ANSWERED_WITHIN_S:
            raise RuntimeError(f"Image {number} was not answered.")
        time.sleep(LOOK_S)
    return took_ms, 1000 * (time.perf_counter() - since)


def _order(address: str, number: int) -> float:
    """Milliseconds until an order is accepted; of a study that is not there."""
    connection = HTTPConnection(address)
    body = json.dumps({"study_instance_uid": f"1.2.9.{number}"})
    since = time.perf_counter()
    connection.request("POST", "/v1/jobs", body, {"Content-Type": "application/json"})
    status = connection.getresponse().status
    took_ms = 1000 * (time.perf_counter() - since)
    connection.close()
    if status != 202:
        raise RuntimeError(f"The service answered {status} to an order.")
    return took_ms


@contextmanager
def _orthanc(folder: Path, *, EFSNET_URL: str = "", **configuration: object) -> Iterator[Pacs]:  # noqa: N803
    """An empty Orthanc, as Debian has it, with DICOMweb."""
    folder.mkdir()
    port, dicom_port = free_port(), free_port()
    file = folder / "orthanc.json"
    given = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": port,
        "DicomPort": dicom_port,
        "HttpTimeout": 2,
        "Plugins": [f"{PLUGINS}/libOrthancDicomWeb.so"],
    }
    file.write_text(json.dumps(given | configuration))
    server = Server(["Orthanc", str(file)], {"EFSNET_URL": EFSNET_URL}, folder)
    try:
        _wait_for(port)
        yield Pacs(f"127.0.0.1:{port}")
    finally:
        server.stop()


def _wait_for(port: int) -> None:
    end = time.monotonic() + ANSWERED_WITHIN_S
    while time.monotonic() < end:
        connection = HTTPConnection("127.0.0.1", port)
        try:
            connection.request("GET", "/system")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    raise RuntimeError("Orthanc did not start.")


def _scan(number: int) -> bytes:
    """The example image as a scanner would send it, calibrated, in a study of its own."""
    pixels = np.asarray(PillowImage.open(io.BytesIO(example_png())).convert("L"))
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = UltrasoundImageStorage, f"1.2.8.{number}.1.1"
    made.StudyInstanceUID, made.SeriesInstanceUID = f"1.2.8.{number}", f"1.2.8.{number}.1"
    made.Modality, made.PatientID, made.PatientName = "US", f"BENCHMARK-{number}", "Benchmark"
    made.PatientBirthDate = made.PatientSex = made.StudyID = made.AccessionNumber = made.ReferringPhysicianName = ""
    made.StudyDate, made.StudyTime = "20260102", "101112"
    made.SeriesNumber = made.InstanceNumber = 1
    made.ImageType = ["ORIGINAL", "PRIMARY", "", "0001"]
    made.PatientOrientation, made.Laterality = "", "L"
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PixelData = pixels.tobytes()
    region = Dataset()
    region.RegionSpatialFormat = region.RegionDataType = 1
    region.RegionFlags = 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = pixels.shape[1] - 1, pixels.shape[0] - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.01
    made.SequenceOfUltrasoundRegions = [region]
    file = io.BytesIO()
    dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()
