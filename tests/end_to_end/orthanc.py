"""A real Orthanc with DICOMweb, from Debian's packages, on free ports of this machine, and one that can be killed."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.end_to_end.processes import clean_environment, free_port

PLUGINS = Path("/usr/share/orthanc/plugins")


class Orthanc:
    """One Orthanc with its own folder. Its parts are those that docker/orthanc/orthanc.json configures."""

    def __init__(self, folder: Path, **configuration: object) -> None:
        if shutil.which("Orthanc") is None or not (PLUGINS / "libOrthancDicomWeb.so").exists():
            pytest.skip("needs Debian's orthanc and orthanc-dicomweb")
        self.port, self.dicom_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._http = httpx2.Client(base_url=self.url, timeout=30)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "orthanc.log"
        self._configuration = folder / "orthanc.json"
        folder.mkdir(parents=True, exist_ok=True)
        given = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "HttpPort": self.port,
            "DicomPort": self.dicom_port,
            "DicomAlwaysAllowStore": True,
            "DicomServerEnabled": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "StableAge": 3,
            "OverwriteInstances": False,
            "HttpTimeout": 2,
            "Plugins": [str(PLUGINS / "libOrthancDicomWeb.so"), str(PLUGINS / "libOrthancGdcm.so")],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
        }
        self.configure(**{**given, **configuration})

    def configure(self, **changes: object) -> None:
        """Changes its configuration, for the next start."""
        known = json.loads(self._configuration.read_text()) if self._configuration.exists() else {}
        self._configuration.write_text(json.dumps(known | changes))

    def start(self, **variables: str) -> None:
        """Starts it with these variables, and returns once it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["Orthanc", str(self._configuration)], stdout=log, stderr=log, env=clean_environment(**variables)
            )
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self._http.get("/system")
            except httpx2.TransportError:
                time.sleep(0.05)
            else:
                return
        pytest.fail(f"Orthanc did not start: {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        """Ends it as a power cut would."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Ends it for good."""
        self.kill()
        self._http.close()

    def authenticate(self, user: str, password: str) -> None:
        """With which the test itself comes from now on."""
        self._http.auth = httpx2.BasicAuth(user, password)

    def get(self, path: str, **request: Any) -> Any:
        """What its own interface answers."""
        return self._http.get(path, **request).raise_for_status().json()

    def send(self, content: bytes) -> None:
        """Sends an instance as a scanner would: until it is taken."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                if self._http.post("/instances", content=content).is_success:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.1)
        pytest.fail("Orthanc does not take an instance.")

    def results(self) -> list[tuple[str, str, str]]:
        """Modality, SOP Instance UID and study of all that is no ultrasound."""
        found = []
        for series in self.get("/series", params={"expand": ""}):
            modality = series["MainDicomTags"]["Modality"]
            if modality != "US":
                study = series["ParentStudy"]
                instances = self.get(f"/series/{series['ID']}/instances")
                found += [(modality, one["MainDicomTags"]["SOPInstanceUID"], study) for one in instances]
        return found

    def headers(self, modality: str) -> list[dict[str, Any]]:
        """All attributes of the instances of a modality, by their names."""
        series = [
            one for one in self.get("/series", params={"expand": ""}) if one["MainDicomTags"]["Modality"] == modality
        ]
        return [self.get(f"/instances/{instance}/simplified-tags") for one in series for instance in one["Instances"]]
