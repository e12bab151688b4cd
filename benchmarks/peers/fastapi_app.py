"""FastAPI with a plain function, which it runs in a thread: uvicorn fastapi_app:app."""

from queue import SimpleQueue
from typing import Annotated

from core import WORKERS, Core
from fastapi import Body, FastAPI, Response

app = FastAPI()
cores: SimpleQueue[Core] = SimpleQueue()
for _ in range(WORKERS):
    cores.put(Core())


@app.post("/segment")
def segment(image: Annotated[bytes, Body(media_type="image/png")]) -> Response:
    """The mask of an image."""
    core = cores.get()
    try:
        return Response(core.segment(image), media_type="image/png")
    finally:
        cores.put(core)
