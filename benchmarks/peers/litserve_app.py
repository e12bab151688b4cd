"""LitServe with a worker process for each model: python litserve_app.py PORT."""

import sys

import litserve
from core import WORKERS, Core
from fastapi import Response, UploadFile


class Segmentation(litserve.LitAPI):
    """The four steps that LitServe asks for."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe gives it
        """Once in each worker."""
        self.core = Core()

    def decode_request(self, request: UploadFile) -> bytes:
        """The file of the form: LitServe takes other bodies for JSON."""
        return request.file.read()

    def predict(self, image: bytes) -> bytes:
        """The mask."""
        return self.core.segment(image)

    def encode_response(self, mask: bytes) -> Response:
        """As a PNG."""
        return Response(mask, media_type="image/png")


if __name__ == "__main__":
    server = litserve.LitServer(Segmentation(api_path="/segment"), accelerator="cpu", workers_per_device=WORKERS)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
