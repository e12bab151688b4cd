"""How long a person waits for the first mask on the page, and how much of that is the request itself."""

import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.processes import service
from benchmarks.requests import COLUMNS, ROWS, example_png, processor

SHOWN = "#downloads:not([hidden])"
"""Is there once the first mask is drawn."""


def measure(rounds: int) -> str:
    """The Markdown of the figures, of so many images that are dropped on a page that was just opened."""
    with tempfile.TemporaryDirectory() as scratch:
        png, before = example_png(), os.getloadavg()[0]
        waited_ms, asked_ms = [], []
        with service(Path(scratch) / "store", png) as (_, address), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for _ in range(rounds):
                page = browser.new_page()
                waited, asked = _drop(page, f"http://{address}", png)
                waited_ms.append(waited)
                asked_ms.append(asked)
                page.close()
            browser.close()
    beyond = np.subtract(waited_ms, asked_ms)
    return "\n".join(
        [
            f"{rounds} images of {COLUMNS}x{ROWS} on {processor()}, load average {before:.1f} before.",
            "",
            "| from the drop | median ms | p95 ms |",
            "|---|---:|---:|",
            *(
                f"| {name} | {np.median(values):.0f} | {np.percentile(values, 95):.0f} |"
                for name, values in (
                    ("until the mask is drawn", waited_ms),
                    ("of that, the request", asked_ms),
                    ("beyond the request", beyond),
                )
            ),
        ]
    )


def _drop(page: Page, url: str, png: bytes) -> tuple[float, float]:
    """Milliseconds until the first mask is drawn, and of the request in them, by the browser's own clock."""
    page.goto(url)
    page.locator("#model:not(:empty)").wait_for()
    since = time.perf_counter()
    page.locator("#files").set_input_files({"name": "image.png", "mimeType": "image/png", "buffer": png})
    page.locator(SHOWN).wait_for()
    waited_ms = 1000 * (time.perf_counter() - since)
    asked_ms = page.evaluate(
        "() => performance.getEntriesByType('resource').filter(({ name }) => name.includes('v1/segment'))[0].duration"
    )
    return waited_ms, float(asked_ms)
