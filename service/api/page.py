"""The page for people, with all that it loads: nothing comes from elsewhere."""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FILES = Path(__file__).resolve().parent.parent / "page"

HEADERS = {
    # Nothing but what this service serves, no script in the document itself, and in no other page's frame.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), display-capture=(self), geolocation=(), microphone=()",
    # Asked for each time, and answered with 304 if it is the same: an upgrade is there at once.
    "Cache-Control": "no-cache",
}


class _Files(StaticFiles):
    """The files beside the page, with its headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def add_page(app: FastAPI) -> None:
    """Serves the page at `/`, and its files below `/page/`."""

    @app.get("/", include_in_schema=False)
    @app.head("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(FILES / "index.html", headers=HEADERS)

    app.mount("/page", _Files(directory=FILES))
