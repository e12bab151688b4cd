"""The OpenAPI document, as a generator of clients reads it."""

import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.clients.conftest import Serve

GENERATOR = "openapi-python-client==0.29.1"

USE = """
import io, sys
from generated.client import Client
from generated.api.live import ticket_v1_stream_ticket_post as ticket
from generated.api.models import models_v1_models_get as models
from generated.api.segmentation import segment_v1_segment_post as segment
from generated.types import File

client = Client(base_url=sys.argv[1])
image = File(payload=io.BytesIO(open(sys.argv[2], "rb").read()), file_name="image.png", mime_type="image/png")
answer = segment.sync(client=client, body=image)
print(models.sync(client=client).default, [area.pixels > 0 for area in answer.classes], answer.model.version)
print(bool(ticket.sync(client=client).ticket))
"""


@pytest.mark.system
@pytest.mark.requirement("UI-7")
def test_generated_client_segments_an_image(serve: Serve, picture: bytes, tmp_path: Path) -> None:
    """A client that is generated from /openapi.json has what it needs to send an image and read the answer."""
    address = serve()
    (tmp_path / "image.png").write_bytes(picture)
    (tmp_path / "openapi.json").write_text(json.dumps(httpx2.get(f"{address}/openapi.json").json()))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin"
    subprocess.run([python / "pip", "install", "--quiet", GENERATOR], check=True)
    subprocess.run(
        [
            python / "openapi-python-client",
            "generate",
            "--path",
            "openapi.json",
            "--output-path",
            "generated",
            "--meta=none",
        ],
        cwd=tmp_path,
        check=True,
    )
    used = subprocess.run(
        [python / "python", "-c", USE, address, "image.png"], cwd=tmp_path, check=True, capture_output=True, text=True
    )

    assert "efsnet [True, False] 1\nTrue\n" == used.stdout
