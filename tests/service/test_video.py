"""Videos without a server."""

import csv
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from efsnet.predictor import Computation
from model_store.loading import LoadedVersion, load
from model_store.store import ModelStore
from service.__main__ import app
from service.errors import OutputsExist, VideoUnusable
from service.video import VideoPlan, is_video, segment_video

FRAMES = 12


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Half a second, 160 x 129: dark, and from the fourth frame on with a square that is benign to the tiny model."""
    path = tmp_path / "examination.mp4"
    rng = np.random.default_rng(0)
    with av.open(path, "w") as target:
        stream = target.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        for index in range(FRAMES):
            grey = rng.integers(20, 40, (128, 160), dtype=np.uint8)
            grey[20:70, 20:80] += 120 if index >= 3 else 0
            picture = np.repeat(grey[:, :, np.newaxis], 3, axis=2)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode())
    return path


@pytest.fixture
def loaded(published_store: ModelStore) -> LoadedVersion:
    """The tiny version."""
    return load(published_store.version("efsnet", "production"), Computation(provider="cpu"))


def test_video_becomes_overlay_table_and_plot(video: Path, loaded: LoadedVersion, tmp_path: Path) -> None:
    """There is a drawn-in picture, a row and a point of the plot for each frame."""
    plan = VideoPlan.of(video, tmp_path / "out", overwrite=False)

    assert FRAMES == list(segment_video(plan, loaded, max_pixels=100_000))[-1]

    rows = list(csv.DictReader(plan.table.read_text(encoding="utf-8").splitlines()))
    assert [str(number) for number in range(1, FRAMES + 1)] == [row["frame_number"] for row in rows]
    assert "0.042" == rows[1]["time_s"]
    assert ("0.0", "0.0") == (rows[0]["benign_fraction"], rows[0]["benign_raw_fraction"])
    assert float(rows[-1]["benign_fraction"]) == pytest.approx(50 * 60 / (128 * 160), rel=0.1)
    assert {str(loaded.version.digest)} == {row["digest"] for row in rows}
    with av.open(plan.overlay) as drawn:
        pictures = [frame.to_ndarray(format="rgb24") for frame in drawn.decode(video=0)]
    assert [(128, 160, 3)] * FRAMES == [picture.shape for picture in pictures]
    inside = pictures[-1][45, 50].astype(int)
    assert inside[2] > inside[0] + 10  # benign is blue
    lines = ET.fromstring(plan.plot.read_text(encoding="utf-8")).findall("{*}polyline")  # noqa: S314 (our own)
    assert [FRAMES, FRAMES] == [len(line.attrib["points"].split()) for line in lines]


def test_what_is_no_video_is_told(tmp_path: Path, loaded: LoadedVersion) -> None:
    """A file that only has the name of one."""
    path = tmp_path / "notes.mp4"
    path.write_text("no video")

    with pytest.raises(VideoUnusable, match="cannot be read as a video"):
        list(segment_video(VideoPlan.of(path, tmp_path / "out", overwrite=False), loaded, max_pixels=100_000))


def test_a_video_without_a_whole_frame_is_told(video: Path, tmp_path: Path, loaded: LoadedVersion) -> None:
    """One that was cut off is no examination in which nothing was found; nothing is left of the try."""
    path = tmp_path / "cut.mkv"
    with av.open(video) as source, av.open(path, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\x1fC\xb6u") + 30])  # within the first cluster, in which all frames are
    plan = VideoPlan.of(path, tmp_path / "out", overwrite=False)

    with pytest.raises(VideoUnusable, match="no frame"):
        list(segment_video(plan, loaded, max_pixels=100_000))
    assert [] == list(plan.folder.iterdir())


def test_large_frames_are_refused(video: Path, tmp_path: Path, loaded: LoadedVersion) -> None:
    """Before any is decoded."""
    with pytest.raises(VideoUnusable, match="160 x 128"):
        list(segment_video(VideoPlan.of(video, tmp_path / "out", overwrite=False), loaded, max_pixels=1000))


def test_earlier_results_are_kept(video: Path, loaded: LoadedVersion, tmp_path: Path) -> None:
    """Unless they shall be replaced."""
    plan = VideoPlan.of(video, tmp_path / "out", overwrite=False)
    list(segment_video(plan, loaded, max_pixels=100_000))

    with pytest.raises(OutputsExist, match="--overwrite"):
        VideoPlan.of(video, tmp_path / "out", overwrite=False)
    assert plan == VideoPlan.of(video, tmp_path / "out", overwrite=True)


def test_missing_library_is_told(
    video: Path, loaded: LoadedVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has no PyAV learns how to get it."""
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(VideoUnusable, match="PyAV"):
        list(segment_video(VideoPlan.of(video, tmp_path / "out", overwrite=False), loaded, max_pixels=100_000))


def test_command_takes_videos_and_images(
    video: Path, published_store: ModelStore, tmp_path: Path, busi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m service segment` takes both at once."""
    monkeypatch.setenv("EFSNET_STORE", str(published_store.root))
    monkeypatch.setenv("EFSNET_PROVIDER", "cpu")
    image = busi / "benign" / "benign (51).png"
    ran = CliRunner().invoke(app, ["segment", str(video), str(image), "--out", str(tmp_path / "out")])

    assert 0 == ran.exit_code
    assert {
        "areas.csv",
        "masks",
        "overlays",
        *(f"examination.mp4.{kind}" for kind in ("areas.csv", "areas.svg", "overlay.mp4")),
    } == {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(("name", "expected"), [("a.MP4", True), ("a.webm", True), ("a.png", False), ("a", False)])
def test_videos_are_told_by_their_names(name: str, expected: bool) -> None:  # noqa: FBT001 (a table)
    """In whatever letters."""
    assert expected == is_video(Path(name))
