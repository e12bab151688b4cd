"""mosec, whose server is written in Rust: python mosec_app.py --port PORT."""

from core import WORKERS, Core
from mosec import Runtime, Server, Worker


class Segmentation(Worker):
    """One worker process."""

    resp_mime_type = "image/png"

    def __init__(self) -> None:
        super().__init__()
        self.core = Core()

    def deserialize(self, data: bytes) -> bytes:
        """The body as it is."""
        return data

    def forward(self, data: bytes) -> bytes:
        """The mask."""
        return self.core.segment(data)

    def serialize(self, data: bytes) -> bytes:
        """As it is."""
        return data


if __name__ == "__main__":
    server = Server()
    server.register_runtime({"/segment": [Runtime(Segmentation, num=WORKERS)]})
    server.run()
