"""The OHIF viewer, as npm has it, in front of an Orthanc: its files, and Orthanc's DICOMweb at the same address."""

import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

PACKAGE = "@ohif/app@3.13.2"
"""The first that shows segmentations of a cine frame by frame."""

CONFIGURATION = {
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "defaultDataSourceName": "orthanc",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "orthanc",
            "configuration": {
                "friendlyName": "Orthanc",
                "name": "orthanc",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "qidoSupportsIncludeField": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
            },
        }
    ],
}


def fetch(folder: Path) -> Path:
    """The folder of the viewer's files, as built by its authors."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm: sudo apt-get install npm")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([npm, "pack", PACKAGE], cwd=folder, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode:
        pytest.skip(f"needs {PACKAGE}, which npm does not bring")
    with tarfile.open(next(folder.glob("*.tgz"))) as packed:
        packed.extractall(folder, filter="data")
    files = folder / "package" / "dist"
    (files / "app-config.js").write_text(f"window.config = {json.dumps(CONFIGURATION)};\n")
    return files


@contextmanager
def show(files: Path, orthanc_url: str) -> Iterator[str]:
    """Serves the viewer for an Orthanc, for as long as the context lasts. Gives its address."""
    with (
        httpx2.Client(base_url=orthanc_url, timeout=30) as orthanc,
        ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, orthanc, directory=str(files))) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Handler(SimpleHTTPRequestHandler):
    """Files, DICOMweb, and the viewer itself at each address that is a page of its own."""

    def __init__(self, orthanc: httpx2.Client, *others: object, directory: str) -> None:
        self._orthanc = orthanc
        super().__init__(*others, directory=directory)  # type: ignore[arg-type]  # what a server gives to each

    def do_GET(self) -> None:
        if self.path.startswith("/dicom-web/"):
            self._forward()
            return
        if not Path(self.translate_path(self.path)).exists():
            self.path = "/index.html"
        super().do_GET()

    def _forward(self) -> None:
        answer = self._orthanc.get(self.path, headers={"Accept": self.headers.get("Accept", "*/*")})
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("content-type", ""))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Nothing: the test says what is wrong."""
