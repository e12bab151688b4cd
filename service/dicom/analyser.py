"""Analyses DICOM instances with the workers that segment image files."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from efsnet.image import PixelSpacing
from model_store.loading import LoadedVersion
from service.dicom.analysis import Analysis, FrameFinding
from service.dicom.decoding import DecoderProcess
from service.dicom.source import DicomSource, Limits, read_source
from service.errors import QueueFull
from service.illustrations import NO_EXTRAS, Extras, illustrate
from service.segmentation import MaskSpace, Segmenter, Stages, segment_picture

BETWEEN_TRIES_S = 0.1
"""How long work that may wait leaves a queue alone."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class DicomUpload:
    """A DICOM file, and what is asked of it."""

    data: bytes
    frame_index: int | None = None
    """From 0; all frames without it."""
    spacing: PixelSpacing | None = None
    """Given by a person, in place of the instance's own."""
    mask_space: MaskSpace = "original"
    extras: Extras = NO_EXTRAS


class Analyser:
    """Reads instances and segments their frames, each a piece of work of its own: a cine lets others through."""

    def __init__(self, segmenter: Segmenter, limits: Limits) -> None:
        self._segmenter = segmenter
        self._limits = limits
        self._decoder = DecoderProcess()

    async def analyse(self, upload: DicomUpload, loaded: LoadedVersion, *, waits: bool = False) -> Analysis:
        """The frames that were asked for, one after the other. Given up when this is cancelled.

        Args:
            upload: The file, and what is asked of it.
            loaded: What analyses it.
            waits: Whether it waits as long as anything else does, as what nobody looks forward to may.

        Raises:
            ImageError: The file or a frame cannot be used.
            InstanceUnusable: It is no picture to be segmented, or has no such frame.
            QueueFull: Too much work waits already, and this does not.
        """
        source = await self._run(lambda _: read_source(upload.data, self._limits, self._decoder), waits=waits)
        frames = range(source.number_of_frames) if upload.frame_index is None else (upload.frame_index,)
        findings = []
        for frame_index in frames:
            work = self._work(source, frame_index, upload, loaded)
            findings.append(await self._run(work, waits=waits))
        return Analysis(source, loaded, tuple(findings), upload.spacing or source.spacing, upload.mask_space)

    def close(self) -> None:
        """Ends the process that decodes."""
        self._decoder.close()

    def _work(
        self, source: DicomSource, frame_index: int, upload: DicomUpload, loaded: LoadedVersion
    ) -> Callable[[int], FrameFinding]:
        queued = time.perf_counter()
        specification = loaded.version.manifest.specification

        def work(worker: int) -> FrameFinding:
            stages = Stages(queued)
            stages.end("queue")
            picture = source.picture(frame_index, upload.spacing)
            predictor = loaded.predictors[worker]
            segmentation = segment_picture(picture, upload.mask_space, specification, predictor, stages)
            lossless = source.number_of_frames == 1 or upload.frame_index is not None
            finding = FrameFinding.of(
                frame_index, segmentation, illustrate(segmentation, upload.extras, lossless=lossless)
            )
            stages.end("encode")
            self._segmenter.tell(loaded, segmentation)
            return finding

        return work

    async def _run(self, work: Callable[[int], T], *, waits: bool) -> T:
        while True:
            if not waits or not self._segmenter.pool.waiting:  # live work goes first
                try:
                    return await self._segmenter.work(work)
                except QueueFull:
                    if not waits:
                        raise
            await asyncio.sleep(BETWEEN_TRIES_S)
