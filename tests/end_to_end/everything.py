"""Asks everything of a service, with a patient's name wherever there is room for one.

As a script it runs the service on a machine of its own: a network namespace that reaches nothing, under a watch of
every connection that is tried and every file that is opened. What it saw is in FOLDER afterwards.
"""

import base64
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

PLANTED = "Planted^Zyxwvut"
"""Of a patient; the first part alone is looked for."""

WATCHED = (
    "connect,sendto,sendmsg,sendmmsg,open,openat,creat,rename,renameat,renameat2,mkdir,mkdirat,link,linkat,symlink"
)


def picture() -> NDArray[np.uint8]:
    """Noise with a benign square, 1500 x 1500, whose PNG has more than 2 MB: larger than what is kept in memory."""
    grey = np.random.default_rng(4711).integers(0, 60, (1500, 1500), np.uint8)
    grey[300:700, 300:700] = 150
    return grey


def files() -> dict[str, bytes]:
    """The picture in each format, each with the patient's name in its header, by media type."""
    image = PillowImage.fromarray(picture())
    text = PngInfo()
    text.add_text("Patient", PLANTED)
    exif = PillowImage.Exif()
    exif[0x010E] = PLANTED
    made = {}
    kinds: dict[str, dict[str, Any]] = {
        "png": {"pnginfo": text},
        "jpeg": {"exif": exif, "quality": 95},
        "tiff": {"tiffinfo": {270: PLANTED}, "compression": "tiff_lzw"},
        "bmp": {},
    }
    for kind, options in kinds.items():
        file = io.BytesIO()
        image.save(file, kind.upper(), **options)
        made[f"image/{kind}"] = file.getvalue()
    return made


def ask_everything(url: str, instance: bytes) -> list[str]:
    """All that was answered, as text, after every route was asked, in good ways and bad ones.

    Args:
        url: Of the service.
        instance: A DICOM file of a patient of this name.
    """
    told = []
    headers = {"User-Agent": PLANTED, "Referer": f"http://viewer/{PLANTED}", "X-Patient-Name": PLANTED}
    with httpx2.Client(base_url=url, timeout=120, headers=headers) as client:

        def ask(method: str, path: str, **options: object) -> httpx2.Response:
            answer = client.request(method, path, **options)  # type: ignore[arg-type]
            told.append(answer.text if "json" in answer.headers.get("content-type", "") else str(answer.headers))
            return answer

        segmented = None
        for media_type, content in files().items():
            segmented = ask("POST", "/v1/segment", content=content, headers={"Content-Type": media_type})
            segmented.raise_for_status()
            ask("POST", "/v1/segment", files={"image": (f"{PLANTED}.png", content, media_type)}).raise_for_status()
            ask("POST", "/v1/segment", files={PLANTED: (PLANTED, content, media_type)})
            ask("POST", "/v1/segment", content=content[:1000], headers={"Content-Type": media_type})
            ask("POST", "/v1/segment", content=content, headers={"Content-Type": f"image/{PLANTED}"})
        alone = {"Inference-Header-Content-Length": "0"}
        png = files()["image/png"]
        ask("POST", "/v2/models/efsnet/infer", content=png, headers=alone).raise_for_status()
        ask("POST", "/v2/models/efsnet/infer", content=png[:1000], headers=alone)
        ask("POST", f"/v2/models/{PLANTED}/infer", json={"inputs": [{"name": PLANTED}], PLANTED: PLANTED})
        ask("POST", "/v2/models/efsnet/infer", json={"inputs": [{"name": PLANTED}], PLANTED: PLANTED})
        dicom = {"Content-Type": "application/dicom"}
        for form in ("json", "dicom-seg", "dicom-sr", "dicom-sc", "dicom-pr"):
            answer = client.post(f"/v1/segment?format={form}", content=instance, headers=dicom)
            answer.raise_for_status()  # its content names the patient, as it should: it goes into her study
            told.append(str(answer.headers))
        ask("POST", "/v1/segment", content=instance[:-300], headers=dicom)
        for method, path in (
            ("GET", f"/v1/models/{PLANTED}"),
            ("GET", f"/v1/jobs/{PLANTED}"),
            ("GET", f"/{PLANTED}"),
            ("GET", f"/problems/{PLANTED}"),
            ("PATCH", f"/v1/models/{PLANTED}"),
            ("POST", f"/v1/segment?patient={PLANTED}"),
            ("POST", f"/v1/segment?model={PLANTED}&version={PLANTED}"),
            ("POST", f"/v1/segment?pixel_spacing_mm={PLANTED}"),
            ("POST", "/v1/stream/ticket"),
        ):
            ask(method, path, headers={"X-Request-Id": f"{PLANTED} of today", "Accept": PLANTED})
        ask("GET", "/v1/models", headers={"Authorization": f"Bearer {PLANTED}"})
        for path in ("/v1/jobs", "/v1/pacs/test", "/dicom-web/studies", f"/dicom-web/studies/{PLANTED}"):
            ask("POST", path, content=json.dumps({"study_instance_uid": PLANTED}), headers={"Content-Type": PLANTED})
        ask("PUT", "/v1/models/efsnet/aliases/production", json={"version": PLANTED, "reason": PLANTED})
        correction = {
            "picture": "data:image/png;base64," + base64.b64encode(files()["image/png"]).decode(),
            "masks": [],
            "patient": PLANTED,
            "decision": PLANTED,
            "version": PLANTED,
        }
        ask("POST", "/v1/corrections", json=correction)
        for path in ("/", "/page/main.js", "/docs", "/redoc", "/openapi.json", "/v1/models", "/v1/models/efsnet"):
            ask("GET", path)
        told += [client.get(path).text for path in ("/livez", "/readyz", "/metrics", "/version")]
    told += _stream(url)
    return told


def _stream(url: str) -> list[str]:
    """What a live stream says to a good frame, and to what is none."""
    told = []
    header = b"\0\0\0\1" + bytes(8) + b"\0\2\0\0"
    for message in (header + files()["image/png"], PLANTED, PLANTED.encode()):
        try:
            with connect(f"ws{url.removeprefix('http')}/v1/stream?model=efsnet", max_size=None) as stream:
                told.append(str(stream.recv(timeout=30)))
                stream.send(message)
                told.append(str(stream.recv(timeout=30))[:2000])
        except (WebSocketException, TimeoutError) as error:
            told.append(str(error))
    return told


def main(folder: Path, port: int) -> None:
    """Runs the service under the watch, asks everything, and ends it in order."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    service = [sys.executable, "-m", "service", "serve", "--port", str(port)]
    watch = ["strace", "-f", "-qq", "-s", "400", "-e", f"trace={WATCHED}", "-o", str(folder / "trace")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*watch, *service], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _await(url, process)
        told = ask_everything(url, (folder / "instance.dcm").read_bytes())
    finally:
        # strace ends with what it watches, and passes the signal on to nobody.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
        for child in children:
            subprocess.run(["kill", f"-{signal.SIGTERM.value}", child], check=False)
        process.wait(timeout=120)
    (folder / "told").write_text("\n".join(told), encoding="utf-8")


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < end:
        try:
            if httpx2.get(f"{url}/readyz").is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.3)
    raise TimeoutError("the service did not become ready")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
