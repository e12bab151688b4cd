"""The self-test: reference images are replayed while the service runs, and what fails does not answer."""

import asyncio
import logging
from collections.abc import Callable

from model_store.errors import ReplayDiffers
from model_store.loading import LoadedVersion, ReplayedImage, replay
from service.errors import ModelNotReady, QueueFull, SelfTestFailed
from service.metrics import Metrics
from service.versions import Versions
from service.workers import WorkerPool

_LOG = logging.getLogger("service.selftest")

AGAIN_S = 60.0
"""Time after a self-test that failed, or found no place in the queue, until the next."""

Replay = Callable[[LoadedVersion, int], tuple[ReplayedImage, ...]]


def _replay(loaded: LoadedVersion, worker: int) -> tuple[ReplayedImage, ...]:
    return replay(loaded, loaded.predictors[worker])


class SelfTest:
    """Replays the reference images of the version that answers, on whichever worker is free.

    Args:
        versions: Which answer; what fails is noted there, and answers no more until it passes.
        pool: Whose turn it waits for, as an upload does.
        metrics: To be told.
        every_s: Between two of them.
        replay: What it does; the reference images with a worker's predictor if none.
    """

    def __init__(
        self, versions: Versions, pool: WorkerPool, metrics: Metrics, every_s: float, replay: Replay = _replay
    ) -> None:
        self._versions = versions
        self._pool = pool
        self._metrics = metrics
        self._every_s = every_s
        self._replay = replay

    async def run(self) -> tuple[ReplayedImage, ...]:
        """One self-test.

        Raises:
            SelfTestFailed: The version does not give its label maps any more.
            ModelNotReady: There is none.
            QueueFull: Too much work waits.
        """
        loaded = self._versions.serving
        if loaded is None:
            raise ModelNotReady("There is no version to be tested.")
        names = loaded.version.name, str(loaded.version.number)
        try:
            replayed = await asyncio.wrap_future(self._pool.submit(lambda worker: self._replay(loaded, worker)))
        except ReplayDiffers as error:
            self._versions.failed = loaded
            self._metrics.selftest_failed.labels(*names).set(1)
            _LOG.error("self-test failed: %s", error)
            raise SelfTestFailed(str(error)) from error
        if self._versions.failed is loaded:
            _LOG.warning("self-test passes again: %s", loaded.version)
            self._versions.failed = None
        self._metrics.selftest_failed.labels(*names).set(0)
        self._metrics.selftest_success.labels(*names).set_to_current_time()
        self._metrics.selftest_differing.labels(*names).set(sum(image.differing_pixels for image in replayed))
        return replayed

    async def watch(self) -> None:
        """One after the other, for as long as the service runs."""
        wait_s = self._every_s
        while True:
            await asyncio.sleep(wait_s)
            try:
                await self.run()
                wait_s = self._every_s
            except (SelfTestFailed, ModelNotReady, QueueFull):
                wait_s = min(AGAIN_S, self._every_s)
