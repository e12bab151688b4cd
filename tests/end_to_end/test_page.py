"""The page in a real browser: every control does what it says, in both languages and themes, and anyone can use it."""

import csv
import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image as PillowImage
from playwright.sync_api import Browser, Page, Playwright, Route, expect, sync_playwright
from pydicom import dcmread

from tests.end_to_end.processes import serve
from tests.service.dicom.instances import CT, instance, part10, region
from training.datasets.reading import read

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: sudo apt-get install chromium"),
]
LONG_MS = 30_000


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """What drives browsers."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Debian's, without a window."""
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield started
    started.close()


@pytest.fixture
def page(browser: Browser, served: str) -> Iterator[Page]:
    """The page, which may complain of nothing and ask nobody else."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1400, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=served)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text) if "Policy" in message.text else None)
    opened.on("request", lambda request: complaints.append(request.url) if not own(request.url, served) else None)
    opened.goto(served)
    expect(opened.locator("#model")).to_contain_text("efsnet")
    yield opened
    context.close()
    assert [] == complaints


def own(url: str, served: str) -> bool:
    """Whether a request stays with the service, or with the page itself."""
    return url.startswith((served, "data:", f"blob:{served}"))


@pytest.fixture(scope="module")
def scan(busi: Path) -> Path:
    """A malignant lesion."""
    return next(file for file in sorted((busi / "malignant").glob("*.png")) if "mask" not in file.name)


def cine(scan: Path) -> bytes:
    """The scan as a loop: a black frame, the scan, the scan a little darker."""
    with PillowImage.open(scan) as picture:
        grey = np.asarray(picture.convert("L"))
    frames = np.stack([np.zeros_like(grey), grey, grey // 2])
    return part10(instance(frames, regions=[region((0, 0, grey.shape[1] - 1, grey.shape[0] - 1))]))


def choose(page: Page, *files: Path | tuple[str, bytes]) -> None:
    """Files as people choose them, and waits until all are answered."""
    given = [
        {"name": file.name, "mimeType": "", "buffer": file.read_bytes()}
        if isinstance(file, Path)
        else {"name": file[0], "mimeType": "", "buffer": file[1]}
        for file in files
    ]
    before = page.locator("#list li").count()
    page.locator("#files").set_input_files(given)  # type: ignore[arg-type] # a list of dictionaries of their own kind
    expect(page.locator("#list .done, #list .failed")).to_have_count(before + len(files), timeout=LONG_MS)
    expect(page.locator("#tables dl, #error:not([hidden])").first).to_be_visible()  # answered is not yet drawn


def marked_pixels(page: Page) -> int:
    """Pixels that are drawn over the picture."""
    count = page.evaluate(
        """() => { const canvas = document.querySelector('.viewer canvas:nth-child(2)');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let count = 0; for (let place = 3; place < data.length; place += 4) count += data[place] > 0; return count; }"""
    )
    return int(count)


def saved(page: Page, format_: str) -> tuple[str, bytes]:
    """Name and content of what a button of "Take along" gives."""
    with page.expect_download() as download:
        page.locator(f"[data-download={format_}]").click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


@pytest.mark.requirement("UI-1")
def test_an_image_is_shown_with_what_is_marked(page: Page, scan: Path) -> None:
    """Its areas, its lesions, and what answered."""
    choose(page, scan)

    expect(page.locator("#tables")).to_contain_text("malignant")
    expect(page.locator("#tables")).to_contain_text("sha256:")
    expect(page.locator("#tables")).to_contain_text("no pixel spacing is known", ignore_case=True)
    expect(page.get_by_text("Research use, beside an expert")).to_be_visible()
    assert marked_pixels(page) > 500


def test_every_way_to_look_at_it_changes_the_picture(page: Page, scan: Path) -> None:
    """Area, outline, probability, nothing; opacity and patterns."""
    choose(page, scan)
    area = marked_pixels(page)
    page.select_option("#show", "outline")
    outline = marked_pixels(page)
    page.select_option("#show", "nothing")
    assert 0 == marked_pixels(page) < outline < area
    page.select_option("#show", "probability")
    page.wait_for_timeout(1500)
    assert marked_pixels(page) > outline
    page.select_option("#show", "mask")
    before = page.locator(".viewer").screenshot()
    page.check("#patterns")
    patterned = page.locator(".viewer").screenshot()
    page.locator("#opacity").fill("90")
    assert 3 == len({before, patterned, page.locator(".viewer").screenshot()})


def test_probabilities_that_come_late_stay_away(page: Page, scan: Path) -> None:
    """Whoever has gone back to the masks meanwhile sees masks, as the page says."""
    choose(page, scan)
    area = marked_pixels(page)
    held: list[Route] = []
    page.route("**/v1/segment?*probabilities=true*", lambda route: held.append(route))  # noqa: PLW0108 - it wants a function
    with page.expect_request("**/v1/segment?*probabilities=true*"):
        page.select_option("#show", "probability")
    page.select_option("#show", "mask")
    with page.expect_response("**/v1/segment?*probabilities=true*"):
        held[0].continue_()
    page.wait_for_timeout(500)

    assert area == marked_pixels(page)


def test_the_picture_is_moved_enlarged_and_windowed(page: Page, scan: Path) -> None:
    """With buttons, keys, wheel and pointer."""
    choose(page, scan)
    place = page.locator(".viewer .layers")
    seen = [place.get_attribute("style")]

    def changed() -> bool:
        seen.append(place.get_attribute("style"))
        return seen[-1] != seen[-2]

    page.click("#zoom-in")
    assert changed()
    page.click("#zoom-out")
    assert changed()
    page.locator(".viewer").focus()
    for key in ("ArrowLeft", "ArrowUp", "+", "-", "0"):
        page.keyboard.press(key)
        assert changed() or key == "0", key
    page.locator(".viewer").hover()
    page.mouse.wheel(0, -300)
    assert changed()
    page.mouse.down()
    page.mouse.move(700, 500)
    page.mouse.up()
    assert changed()
    page.click("#fit")
    assert changed()
    page.locator("#brightness").fill("200")
    page.locator("#contrast").fill("60")
    assert "brightness(2) contrast(0.6)" in str(page.locator(".viewer canvas").first.get_attribute("style"))


def test_files_of_every_kind_are_shown(page: Page, scan: Path) -> None:
    """Those too that no browser shows by itself."""
    with PillowImage.open(scan) as picture:
        files = []
        for kind, ending in (("TIFF", "tif"), ("BMP", "bmp"), ("JPEG", "jpg")):
            file = io.BytesIO()
            picture.convert("L").save(file, kind)
            files.append((f"scan.{ending}", file.getvalue()))
    choose(page, *files, ("loop.dcm", cine(scan)))
    for line in page.locator("#list button").all():
        line.click()
        expect(page.locator(".viewer")).to_be_visible()
        page.wait_for_timeout(200)
        assert marked_pixels(page) > 500


def test_a_loop_is_leafed_through(page: Page, scan: Path) -> None:
    """By slider and by itself; it opens at the largest lesion, and measures in the instance's millimetres."""
    choose(page, ("loop.dcm", cine(scan)))

    expect(page.locator("#frame-number")).to_have_text("2 of 3")
    expect(page.locator("#tables")).to_contain_text("mm²")
    page.locator("#frame").fill("1")
    expect(page.locator("#tables")).to_contain_text("Nothing was marked")
    assert 0 == marked_pixels(page)
    page.click("#key-frame")
    expect(page.locator("#frame-number")).to_have_text("2 of 3")
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Pause")
    expect(page.locator("#frame-number")).not_to_have_text("2 of 3")
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Play")


def test_what_was_found_can_be_taken_along(page: Page, scan: Path) -> None:
    """Mask, overlay, table, DICOM, and the command that asks the same."""
    choose(page, ("scan 1.dcm", cine(scan)))

    for format_ in ("png", "overlay"):
        name, content = saved(page, format_)
        assert name.startswith("scan 1.")
        with PillowImage.open(io.BytesIO(content)) as picture:
            assert picture.size[0] > 100
    name, content = saved(page, "csv")
    lines = list(csv.DictReader(io.StringIO(content.decode())))
    assert ("scan 1.csv", 6) == (name, len(lines))
    assert float(next(line for line in lines if line["frame"] == "2" and line["class"] == "malignant")["pixels"]) > 500
    for format_, modality in (("dicom-seg", "SEG"), ("dicom-sr", "SR")):
        _, content = saved(page, format_)
        assert modality == dcmread(io.BytesIO(content)).Modality
    page.click("#copy")
    expect(page.locator("#status")).to_have_text("Copied.")
    command = page.evaluate("() => navigator.clipboard.readText()")
    assert command.startswith("curl -F 'image=@scan 1.dcm' 'http://127.0.0.1")


def test_objects_of_a_study_are_offered_for_dicom_alone(page: Page, scan: Path) -> None:
    """A PNG has no study that they could be of."""
    choose(page, scan)

    expect(page.locator("[data-download=dicom-seg]")).to_be_hidden()
    expect(page.locator("[data-download=png]")).to_be_visible()


def test_two_versions_are_seen_side_by_side(page: Page, scan: Path) -> None:
    """Moved as one, each with its own findings."""
    choose(page, scan)
    page.locator(".options summary").click()
    page.select_option("#compare", "1")

    expect(page.locator(".viewer")).to_have_count(2, timeout=LONG_MS)
    expect(page.locator("figcaption").last).to_have_text("efsnet 1")
    expect(page.locator("#tables h3", has_text="efsnet 1")).to_be_visible()
    page.click("#zoom-in")
    assert 1 == len({layers.get_attribute("style") for layers in page.locator(".layers").all()})


def test_a_spacing_gives_millimetres(page: Page, scan: Path) -> None:
    """Of both sides, if only one is given."""
    choose(page, scan)
    page.locator(".options summary").click()
    page.locator("#spacing-row").fill("0.1")
    page.locator("#spacing-row").press("Tab")

    expect(page.locator("#tables")).to_contain_text("mm²", timeout=LONG_MS)


def test_errors_say_what_to_do(page: Page, scan: Path) -> None:
    """Nothing, no image, another modality; and the next file is answered all the same."""
    black = instance(np.zeros((64, 64), np.uint8), SOPClassUID=CT, Modality="CT")
    choose(page, ("empty.png", b""), ("words.png", b"no image at all"), ("ct.dcm", part10(black)), scan)
    said = []
    for line in page.locator("#list .failed button").all():
        line.click()
        said.append(page.locator("#error").inner_text())

    assert 3 == len(set(said))
    assert "There is no image in the body" in said[0]
    assert "ultrasound" in said[2].lower()
    page.locator("#list .done button").click()
    expect(page.locator("#error")).to_be_hidden()


def test_errors_are_named_in_spanish_too(page: Page) -> None:
    """What is wrong, that is; the service's own words on it are marked as English, for who has them read out."""
    page.select_option("#language", "es")
    choose(page, ("words.png", b"no image at all"))

    expect(page.locator("#error strong")).to_have_text("La imagen no se puede leer")
    expect(page.locator("#error p")).to_have_attribute("lang", "en")


def test_an_image_can_be_dropped(page: Page, scan: Path) -> None:
    """Anywhere on the page."""
    transfer = page.evaluate_handle(
        """(bytes) => { const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], 'dropped.png')); return transfer; }""",
        list(scan.read_bytes()),
    )
    page.locator("#drop").dispatch_event("drop", {"dataTransfer": transfer})

    expect(page.locator("#list .done")).to_contain_text("dropped.png", timeout=LONG_MS)


def test_the_page_speaks_spanish_and_can_be_dark(page: Page, scan: Path) -> None:
    """What is shown already is said anew."""
    choose(page, scan)
    page.select_option("#language", "es")
    expect(page.get_by_text("Uso en investigación, junto a un experto")).to_be_visible()
    expect(page.locator("#tables")).to_contain_text("maligna")
    assert "es" == page.locator("html").get_attribute("lang")

    colours = []
    for theme in ("light", "dark"):
        page.select_option("#theme", theme)
        colours.append(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
    assert 2 == len(set(colours))


@pytest.fixture(scope="module")
def camera(playwright: Playwright, scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera shows the scan, drifting a little."""
    file = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with PillowImage.open(scan) as picture:
        grey = picture.convert("L").resize((640, 480))
    with file.open("wb") as video:
        for step in range(60):
            grey.transform(grey.size, PillowImage.Transform.AFFINE, (1, 0, step / 6, 0, 1, 0)).save(video, "JPEG")
    fake = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={file}",
    )
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *fake])
    yield started
    started.close()


def test_a_camera_is_followed_live(camera: Browser, served: str) -> None:
    """Masks lie over the moving picture, numbers are told, and it ends when asked to."""
    context = camera.new_context(locale="en-GB", permissions=["camera"], viewport={"width": 1400, "height": 1000})
    opened = context.new_page()
    opened.goto(served)
    expect(opened.locator("#model")).to_contain_text("efsnet")
    opened.click("[data-live=camera]")
    expect(opened.locator("#live-numbers")).to_contain_text("malignant", timeout=LONG_MS)
    expect(opened.locator("#live-numbers")).to_contain_text("masks a second")
    for _ in range(2):
        marked = opened.evaluate(
            """() => { const canvas = document.querySelector('.viewer.live canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return data.some((value, place) => place % 4 === 3 && value); }"""
        )
        assert marked
        opened.check("#live-raw")
        opened.wait_for_timeout(500)
    opened.click("#live-stop")
    expect(opened.locator("#live-view")).to_be_hidden()
    expect(opened.locator("#status")).to_contain_text("ended")
    context.close()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where a service keeps corrections: of each test its own, since one picture cannot be of two patients."""
    return tmp_path / "corrections" / "ours"


@pytest.fixture
def correcting(kept: Path, tmp_path: Path) -> Iterator[str]:
    """Address of a service that keeps corrections."""
    folder = tmp_path / "correcting"
    command = [sys.executable, "-m", "service", "serve"]
    with serve(command, folder / "store", EFSNET_STATE=str(folder / "state"), EFSNET_CORRECTIONS=str(kept)) as url:
        yield url


def test_an_experts_correction_is_saved_and_can_be_learnt_from(
    browser: Browser, correcting: str, kept: Path, scan: Path
) -> None:
    """Brush, eraser, class, undo and redo; accepted, corrected, rejected; training reads what was saved."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1400, "height": 1300})
    opened = context.new_page()
    opened.goto(correcting)
    expect(opened.locator("#model")).to_contain_text("efsnet")
    choose(opened, scan)
    expect(opened.locator("#correction")).to_be_visible()
    as_answered = marked_pixels(opened)
    opened.click("#accept")
    expect(opened.locator("#status")).to_contain_text("Enter a patient")
    opened.fill("#patient", "Planted Name")
    opened.click("#accept")
    expect(opened.locator("#status")).to_contain_text("Saved as")

    box = opened.locator(".viewer").bounding_box()
    assert box
    opened.select_option("#tool", "1")
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + 60)
    opened.mouse.up()
    painted = marked_pixels(opened)
    opened.click("#undo")
    assert as_answered == marked_pixels(opened) < painted
    opened.click("#redo")
    assert painted == marked_pixels(opened)
    opened.click("[data-reclassify='1']")
    opened.click("#keep")
    expect(opened.locator("#status")).to_contain_text("Saved as")
    opened.click("#reject")
    expect(opened.locator("#status")).to_contain_text("nothing was saved")
    assert as_answered == marked_pixels(opened)
    context.close()

    (record,) = read([kept])  # what was saved last takes the place of what was accepted before
    assert "benign" == record.kind
    assert {0, 1} == set(np.unique(record.read_reference()).tolist())


def test_a_lesion_changes_its_class_and_each_file_keeps_its_own(
    browser: Browser, correcting: str, scan: Path, tmp_path: Path
) -> None:
    """A click on a lesion makes it another class; patient and spacing are the file's, and go with it."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1400, "height": 1300})
    opened = context.new_page()
    opened.goto(correcting)
    expect(opened.locator("#model")).to_contain_text("efsnet")
    second = tmp_path / "second.png"
    second.write_bytes(scan.read_bytes())
    choose(opened, scan)
    opened.fill("#patient", "the first")
    expect(opened.locator("#unpainted")).to_be_hidden()
    answered = opened.evaluate(LESION)
    opened.select_option("#tool", f"lesion-{3 - answered['number']}")
    box = opened.locator(".viewer canvas").first.bounding_box()
    assert box
    opened.mouse.click(
        box["x"] + box["width"] * (answered["column"] + 0.5) / answered["columns"],
        box["y"] + box["height"] * (answered["row"] + 0.5) / answered["rows"],
    )
    expect(opened.locator("#unpainted")).to_be_visible()
    expect(opened.locator("#keep")).to_be_enabled()
    opened.click("#undo")
    expect(opened.locator("#unpainted")).to_be_hidden()

    opened.set_input_files("#files", second)
    expect(opened.locator("#list li.done")).to_have_count(2)
    opened.locator("#list button").nth(1).click()
    expect(opened.locator("#patient")).to_have_value("")
    opened.locator("#list button").nth(0).click()
    expect(opened.locator("#patient")).to_have_value("the first")
    context.close()


LESION = """async () => {
    const [, marks] = document.querySelectorAll('.viewer canvas');
    const { data, width, height } = marks.getContext('2d').getImageData(0, 0, marks.width, marks.height);
    // The middle of what is marked, and whether it is sky blue (benign) or orange.
    let [count, row, column, red] = [0, 0, 0, 0];
    for (let place = 0; place < width * height; place++) {
        if (!data[4 * place + 3]) continue;
        count++; row += Math.floor(place / width); column += place % width; red += data[4 * place];
    }
    const [number, rows, columns] = [red / count > 150 ? 2 : 1, height, width];
    return { number, row: row / count, column: column / count, rows, columns };
}"""
"""Class and middle of the one lesion that is marked."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.requirement("UI-2")
def test_anyone_can_use_it(browser: Browser, served: str, scan: Path, scheme: str) -> None:
    """Axe finds nothing to complain of, empty and with findings."""
    context = browser.new_context(color_scheme=scheme, locale="en-GB", bypass_csp=True)  # type: ignore[arg-type]
    opened = context.new_page()
    opened.goto(served)
    expect(opened.locator("#model")).to_contain_text("efsnet")
    empty = Axe().run(opened)
    choose(opened, scan, ("loop.dcm", cine(scan)))
    opened.locator("#list button").last.click()
    opened.locator(".options summary").click()
    full = Axe().run(opened)
    context.close()

    assert (0, 0) == (empty.violations_count, full.violations_count), empty.generate_report() + full.generate_report()


@pytest.fixture
def expert(browser: Browser, correcting: str, scan: Path) -> Iterator[Page]:
    """The page of a service that keeps corrections, with a scan."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1400, "height": 1300})
    opened = context.new_page()
    opened.goto(correcting)
    expect(opened.locator("#model")).to_contain_text("efsnet")
    choose(opened, scan)
    expect(opened.locator("#correction")).to_be_visible()
    yield opened
    context.close()


def test_the_keys_paint_too(expert: Page) -> None:
    """Arrows lead the brush, space presses and lifts it; what is painted can be undone."""
    as_answered = marked_pixels(expert)
    expert.select_option("#tool", "1")
    expert.locator("#tool-size").fill("20")
    expert.locator(".viewer").focus()
    for key in ("ArrowDown", "ArrowDown", " ", "ArrowRight", "ArrowRight", " "):
        expert.keyboard.press(key)
    painted = marked_pixels(expert)
    for key in ("ArrowLeft", "ArrowUp", "ArrowLeft"):
        expert.keyboard.press(key)

    assert as_answered < painted == marked_pixels(expert)
    expert.click("#undo")
    assert as_answered == marked_pixels(expert)


def test_what_is_saved_is_what_is_shown(expert: Page, kept: Path) -> None:
    """Also where more was painted than can be undone; only what differs can be saved, and nothing twice."""
    before = len(list((kept / "masks").glob("*")))
    expert.fill("#patient", "Somebody")
    expect(expert.locator("#accept")).to_be_enabled()
    expect(expert.locator("#keep")).to_be_disabled()
    expert.select_option("#tool", "1")
    expert.locator("#tool-size").fill("8")
    expert.locator(".viewer").focus()
    for _ in range(55):
        for key in (" ", " ", "ArrowRight"):
            expert.keyboard.press(key)
    for _ in range(50):
        expert.click("#undo")
    expect(expert.locator("#undo")).to_be_disabled()
    expect(expert.locator("#accept")).to_be_disabled()
    page_shows = marked_pixels(expert)
    expert.click("#keep")
    expect(expert.locator("#status")).to_contain_text("Saved as")
    expect(expert.locator("#keep")).to_be_disabled()

    name = expert.locator("#status").inner_text().removeprefix("Saved as ").rstrip(".")
    with PillowImage.open(kept / "masks" / name) as mask:
        assert page_shows == np.count_nonzero(np.asarray(mask))
    assert before + 1 == len(list((kept / "masks").glob("*")))


def test_a_frame_of_a_loop_is_saved_as_the_network_saw_it(expert: Page, kept: Path, scan: Path) -> None:
    """Without the losses of the pictures that the page shows of loops."""
    choose(expert, ("loop.dcm", cine(scan)))
    expert.locator("#list button").last.click()
    expect(expert.locator("#frame-number")).to_have_text("2 of 3")
    expert.fill("#patient", "Somebody in a loop")
    expert.click("#accept")
    expect(expert.locator("#status")).to_contain_text("Saved as")

    name = expert.locator("#status").inner_text().removeprefix("Saved as ").rstrip(".")
    with PillowImage.open(kept / "images" / name) as picture, PillowImage.open(scan) as original:
        np.testing.assert_array_equal(np.asarray(original.convert("L")), np.asarray(picture))


def test_two_fingers_leave_no_paint(expert: Page) -> None:
    """The first finger of a pinch begins to paint; the second takes that back."""
    as_answered = marked_pixels(expert)
    expert.select_option("#tool", "1")
    painted = []
    for identifier, left in ((1, 500), (2, 600)):
        touch = {"pointerId": identifier, "pointerType": "touch", "clientX": left, "clientY": 300, "bubbles": True}
        expert.evaluate(
            """([selector, touch]) => { const viewer = document.querySelector(selector);
            viewer.setPointerCapture = () => {}; viewer.dispatchEvent(new PointerEvent('pointerdown', touch)); }""",
            [".viewer", touch],
        )
        painted.append(marked_pixels(expert))

    assert painted[0] > as_answered == painted[1]


def test_a_change_of_version_reaches_what_is_being_asked(page: Page, scan: Path) -> None:
    """An answer that was under way is asked for anew, and whoever leafs through the list with keys stays there."""
    page.locator(".options summary").click()
    files = [{"name": f"{number}.png", "mimeType": "", "buffer": scan.read_bytes()} for number in range(4)]
    page.locator("#files").set_input_files(files)  # type: ignore[arg-type] # as above
    page.locator("#list button").first.focus()
    page.select_option("#version", "1")
    page.locator("#list button").first.focus()
    expect(page.locator("#list .done")).to_have_count(4, timeout=LONG_MS)

    assert "0.png" in page.evaluate("() => document.activeElement.textContent")
    for line in page.locator("#list button").all():
        line.click()
        expect(page.locator("figcaption")).to_have_text("efsnet 1")


def test_a_camera_that_is_refused_is_explained(browser: Browser, served: str) -> None:
    """In words of the page's own; and where the page is not on https, what would help."""
    for language, words in (("en-GB", "allow it in the browser"), ("es-ES", "permítalo en el navegador")):
        context = browser.new_context(locale=language)
        opened = context.new_page()
        opened.goto(served)
        expect(opened.locator("#model")).to_contain_text("efsnet")
        opened.evaluate(
            """() => { const refusal = new DOMException('', 'NotAllowedError');
            MediaDevices.prototype.getUserMedia = () => Promise.reject(refusal); }"""
        )
        opened.click("[data-live=camera]")
        expect(opened.locator("#error")).to_contain_text(words)
        expect(opened.locator("#live-view")).to_be_hidden()
        opened.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
        opened.click("[data-live=camera]")
        expect(opened.locator("#error")).to_contain_text("https")
        context.close()


def test_live_mode_that_is_stopped_before_it_begins_lets_the_camera_go(camera: Browser, served: str) -> None:
    """People may change their mind while the browser asks whether they allow it."""
    context = camera.new_context(locale="en-GB", permissions=["camera"])
    opened = context.new_page()
    opened.goto(served)
    expect(opened.locator("#model")).to_contain_text("efsnet")
    opened.evaluate(
        """() => { const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        MediaDevices.prototype.getUserMedia = async (what) => {
          await new Promise((resolve) => { window.allow = resolve; });
          window.opened = await open(what); return window.opened; }; }"""
    )
    opened.click("[data-live=camera]")
    opened.click("#live-stop")
    opened.evaluate("() => window.allow()")
    opened.wait_for_function("() => window.opened?.getTracks().every(({ readyState }) => readyState === 'ended')")
    expect(opened.locator("#live-view")).to_be_hidden()
    context.close()
