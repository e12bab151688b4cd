"""What is stored in a study is shown by OHIF, the viewer of many web PACS: where the lesion is, and frame by frame.

`pytest -m system tests/end_to_end/test_ohif.py --update-goldens` takes the pictures of docs/images anew: look at them.
"""

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import highdicom
import httpx2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from pydicom import dcmread
from scipy import ndimage

from tests.end_to_end import ohif
from tests.end_to_end.orthanc import Orthanc
from tests.service.dicom import instances
from tests.service.dicom.test_results import values_of

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: sudo apt-get install chromium"),
]
LONG_MS = 120_000
VIEW = {"width": 1200, "height": 750}
STILL, CINE, NOTHING = "1.2.7.1", "1.2.7.2", "1.2.7.3"
"""Studies."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Study:
    """What Orthanc holds."""

    frames: NDArray[np.uint8]
    """(frames, rows, columns)"""
    masks: dict[int, Mask]
    """(rows, columns) of all lesions, by the index of the frame; as highdicom reads them."""
    report: bytes


@pytest.fixture(scope="module")
def studies(busi: Path) -> dict[str, NDArray[np.uint8]]:
    """A lesion; the same as if the probe moved, and lost it for a frame; and none."""
    lesion, none = _grey(busi / "malignant" / "malignant (14).png"), _grey(busi / "normal" / "normal (9).png")
    # OHIF reads masks of several frames only if they fill an even number of bytes; frames of scanners do.
    rows, columns = (side // 16 * 16 for side in lesion.shape)
    part = lesion[:rows, :columns]
    away = np.asarray(PIL.Image.fromarray(none).resize((columns, rows)))
    return {
        STILL: lesion[np.newaxis],
        CINE: np.stack([np.roll(part, -20, axis=1), part, away, np.roll(part, 20, axis=1)]),
        NOTHING: none[np.newaxis],
    }


def _grey(path: Path) -> NDArray[np.uint8]:
    return np.asarray(PIL.Image.open(path).convert("L"))


@pytest.fixture(scope="module")
def shown(
    served: str, studies: dict[str, NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, Study]]]:
    """The viewer's address, and what is in the studies of its Orthanc: images, and what the service answers."""
    files = ohif.fetch(tmp_path_factory.mktemp("ohif"))
    orthanc = Orthanc(tmp_path_factory.mktemp("orthanc"))
    orthanc.start()
    try:
        stored = {study: _store(orthanc, served, study, frames) for study, frames in studies.items()}
        with ohif.show(files, orthanc.url) as url:
            yield url, stored
    finally:
        orthanc.close()


def _store(orthanc: Orthanc, service: str, study: str, frames: NDArray[np.uint8]) -> Study:
    _, rows, columns = frames.shape
    uids = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "SOPInstanceUID": f"{study}.1.1",
        "SeriesDescription": "B-mode",
    }
    whole = instances.region((0, 0, columns - 1, rows - 1))
    image = instances.part10(instances.instance(frames if len(frames) > 1 else frames[0], regions=[whole], **uids))
    orthanc.send(image)
    answers = {
        role: httpx2.post(
            f"{service}/v1/segment?format=dicom-{role}",
            content=image,
            headers={"Content-Type": "application/dicom"},
            timeout=60,
        )
        for role in ("seg", "sr")
    }
    for answer in answers.values():
        if answer.is_success:
            orthanc.send(answer.content)
    masks = _masks(answers["seg"].content) if answers["seg"].is_success else {}
    return Study(frames, masks, answers["sr"].content)


def _masks(seg: bytes) -> dict[int, Mask]:
    opened = highdicom.seg.segread(io.BytesIO(seg))
    masks: dict[int, Mask] = {}
    stored = opened.pixel_array.reshape(-1, opened.Rows, opened.Columns).astype(np.bool_)
    for item, mask in zip(opened.PerFrameFunctionalGroupsSequence, stored, strict=True):
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        index = int(source.get("ReferencedFrameNumber", 1)) - 1
        masks[index] = masks.get(index, False) | mask
    return masks


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's, without a window and without a graphics card."""
    arguments = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser, shown: tuple[str, dict[str, Study]]) -> Iterator[Callable[[str, str], Page]]:
    """The viewer, with a study and one of its results opened."""
    context = browser.new_context(viewport=VIEW)  # type: ignore[arg-type]  # a typed dictionary of just these

    def open_result(study: str, modality: str) -> Page:
        page = context.new_page()
        page.set_default_timeout(LONG_MS)
        page.goto(f"{shown[0]}/viewer?StudyInstanceUIDs={study}")
        page.get_by_text("Skip all", exact=True).click()
        page.get_by_text("Confirm and hide", exact=True).click()
        thumbnails = page.locator('[data-cy="study-browser-thumbnail-no-image"]')
        thumbnails.filter(has_text=f"AI {modality} unverified").dblclick()
        return page

    yield open_result
    context.close()


def pane(page: Page) -> Locator:
    """Where the picture is."""
    return page.locator('[data-cy="viewport-pane"]')


def clear(page: Page) -> None:
    """Puts the player for loops away, which covers a part of the picture."""
    player = page.locator('[data-cy="cine-player-close"]')
    player.click()
    expect(player).to_have_count(0)
    page.wait_for_timeout(3000)  # the canvas says not when it is drawn


def picture(page: Page, shape: tuple[int, int]) -> NDArray[np.int64]:
    """(rows, columns, 3): the picture as it is shown, which fits its pane, on its own grid."""
    image = PIL.Image.open(io.BytesIO(pane(page).screenshot())).convert("RGB")
    rows, columns = shape
    scale = min(image.width / columns, image.height / rows)
    left, top = (image.width - columns * scale) / 2, (image.height - rows * scale) / 2
    box = (left, top, left + columns * scale, top + rows * scale)
    return np.asarray(image.resize((columns, rows), box=box), dtype=np.int64)


def tinted(page: Page, shape: tuple[int, int]) -> Mask:
    """(rows, columns) bool: what has a colour in a grey picture."""
    colours = picture(page, shape)
    return np.asarray(ndimage.binary_opening(np.ptp(colours, axis=2) > 40, iterations=2))


def dice(one: Mask, other: Mask) -> float:
    """How far two masks agree, 1 for the same."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.fixture
def keep(request: pytest.FixtureRequest, repository: Path) -> Callable[[Page, str], None]:
    """Keeps a picture for the documentation, if that was asked for."""

    def save(page: Page, name: str) -> None:
        if not request.config.getoption("--update-goldens"):
            return
        taken = PIL.Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize((960, 600))
        taken.quantize(128).save(repository / "docs" / "images" / name, optimize=True)

    return save


@pytest.mark.requirement("PACS-5")
def test_a_segmentation_lies_over_the_lesion(
    opened: Callable[[str, str], Page], shown: tuple[str, dict[str, Study]], keep: Callable[[Page, str], None]
) -> None:
    """In its place to a pixel or two."""
    study = shown[1][STILL]
    page = opened(STILL, "SEG")
    page.get_by_role("button", name="Yes").click()
    clear(page)
    keep(page, "ohif-seg.png")

    assert dice(tinted(page, study.frames.shape[1:]), study.masks[0]) > 0.95


def test_a_segmentation_of_a_cine_is_shown_frame_by_frame(
    opened: Callable[[str, str], Page], shown: tuple[str, dict[str, Study]]
) -> None:
    """Each mask on its own frame, and none where nothing was found."""
    study = shown[1][CINE]
    page = opened(CINE, "SEG")
    page.get_by_role("button", name="Yes").click()
    clear(page)
    found = {}
    for index in range(len(study.frames)):
        expect(pane(page)).to_contain_text(f"({index + 1}/{len(study.frames)})")
        page.wait_for_timeout(2000)
        found[index] = tinted(page, study.frames.shape[1:])
        pane(page).hover(position={"x": 400, "y": 400})
        page.mouse.wheel(0, 100)

    assert {0, 1, 3} == study.masks.keys()
    assert 0 == found.pop(2).sum()
    assert all(dice(mask, study.masks[index]) > 0.95 for index, mask in found.items())


@pytest.mark.parametrize("name", [STILL, CINE])
@pytest.mark.requirement("PACS-5")
def test_a_report_draws_the_outline_and_tells_the_area(
    opened: Callable[[str, str], Page],
    shown: tuple[str, dict[str, Study]],
    keep: Callable[[Page, str], None],
    name: str,
) -> None:
    """Of a cine on its key frame."""
    study = shown[1][name]
    page = opened(name, "SR")
    area_mm2, *_ = values_of(dcmread(io.BytesIO(study.report)), "Area")
    expect(pane(page)).to_contain_text(f"Area: {area_mm2:.2f} mm2")
    clear(page)
    key = max(study.masks, key=lambda index: study.masks[index].sum())
    colours = picture(page, study.frames.shape[1:])
    green = (colours[..., 1] - colours[..., 0] > 60) & (colours[..., 1] - colours[..., 2] > 60)
    lesion = study.masks[key]
    covered = ndimage.binary_dilation(green, iterations=4)
    edge = lesion & ~ndimage.binary_erosion(lesion)
    if name == STILL:
        keep(page, "ohif-sr.png")

    assert (edge & covered).sum() > 0.95 * edge.sum()
    assert not (green & ndimage.binary_erosion(lesion, iterations=4)).any()


def test_a_report_of_nothing_is_read(opened: Callable[[str, str], Page]) -> None:
    """As text: there is no outline to be drawn."""
    page = opened(NOTHING, "SR")

    for words in ("AI: no lesion found", "Absent", "digest=sha256:"):
        expect(pane(page)).to_contain_text(words)
