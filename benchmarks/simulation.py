"""A queue before cores, and an archive in batches: what a plan at scale is reckoned with. Seeded; times in seconds.

Nothing of it is fitted: service times are drawn from those that were measured.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

DAY = (1, 1, 1, 1, 1, 2, 4, 9, 12, 12, 12, 10, 8, 10, 12, 12, 10, 7, 4, 2, 2, 1, 1, 1)
"""Of a hospital: the parts in which studies come, hour by hour."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Images as they come from scanners.

    Args:
        studies_per_day: All over the day, as `DAY` says.
        images_per_study: They come one after the other.
        between_s: Mean time between two images of a study.
    """

    studies_per_day: float
    images_per_study: int
    between_s: float

    @property
    def per_s(self) -> float:
        """Images a second in the busiest hour."""
        return self.studies_per_day * self.images_per_study * max(DAY) / sum(DAY) / 3600

    def busiest_hour(self, random: np.random.Generator, most: int) -> Seconds:
        """Times of the images of the busiest hour, or of its first `most`, in order; the hour before has begun some.

        Studies come independently of each other (a Poisson process), and so do the images of a study.
        """
        studies_per_s = self.per_s / self.images_per_study
        lasts_s = self.images_per_study * self.between_s
        until_s = min(3600.0, most / self.per_s)
        starts = random.uniform(-lasts_s, until_s, random.poisson(studies_per_s * (until_s + lasts_s)))
        gaps = random.exponential(self.between_s, (len(starts), self.images_per_study))
        gaps[:, 0] = 0
        times = (starts[:, np.newaxis] + gaps.cumsum(axis=1)).ravel()
        return np.sort(times[(times >= 0) & (times < until_s)])


def responses(arrivals: Seconds, service: Seconds, cores: int, random: np.random.Generator) -> Seconds:
    """Time from each arrival to its answer, where so many cores take from one queue what came first.

    Args:
        arrivals: Times, in order.
        service: Measured service times on one core, of which one is drawn for each image.
        cores: Each does one image at a time.
        random: What draws.
    """
    environment = simpy.Environment()
    workers = simpy.Resource(environment, cores)
    took = np.zeros(len(arrivals))

    def image(number: int, service_s: float) -> Generator[simpy.Event, Any, None]:
        since = environment.now
        with workers.request() as turn:
            yield turn
            yield environment.timeout(service_s)
        took[number] = environment.now - since

    def source() -> Generator[simpy.Event, Any, None]:
        drawn = random.choice(service, len(arrivals))
        for number, wait_s in enumerate(np.diff(arrivals, prepend=0.0)):
            yield environment.timeout(float(wait_s))
            environment.process(image(number, float(drawn[number])))

    environment.process(source())
    environment.run()
    return took


@dataclass(frozen=True, slots=True)
class Cluster:
    """What goes through an archive.

    Args:
        machines: Of the cluster.
        cores: Of each.
        start_s: Until the first core begins.
        lost_after_s: Mean time until a machine is lost; never without.
        back_after_s: Until another one is in its place.
    """

    machines: int
    cores: int
    start_s: float = 0.0
    lost_after_s: float | None = None
    back_after_s: float = 600.0


def duration(batches: Sequence[int], service: Seconds, cluster: Cluster, random: np.random.Generator) -> float:
    """Seconds until all batches are done; what a lost machine was at is done again.

    Args:
        batches: Number of images in each.
        service: Measured service times on one core.
        cluster: Which does them.
        random: What draws.
    """
    environment = simpy.Environment()
    waiting = list(reversed(batches))
    mean_s, deviation_s = float(service.mean()), float(service.std())

    def core(losses: Seconds) -> Generator[simpy.Event, Any, None]:
        yield environment.timeout(cluster.start_s)
        while waiting:
            size = waiting.pop()
            # A sum of so many independent times is nearly normal.
            takes_s = max(0.0, random.normal(size * mean_s, deviation_s * size**0.5))
            lost = losses[(losses > environment.now) & (losses < environment.now + takes_s)]
            if len(lost):
                yield environment.timeout(float(lost[0]) - environment.now + cluster.back_after_s)
                waiting.append(size)
            else:
                yield environment.timeout(takes_s)

    for _ in range(cluster.machines):
        losses = _losses(cluster, sum(batches) * mean_s, random)
        for _ in range(cluster.cores):
            environment.process(core(losses))
    environment.run()
    return float(environment.now)


def _losses(cluster: Cluster, work_s: float, random: np.random.Generator) -> Seconds:
    """When a machine is lost, for at least as long as all of the work could take."""
    if cluster.lost_after_s is None:
        return np.zeros(0)
    expected = 2 * work_s / (cluster.machines * cluster.cores * cluster.lost_after_s)
    return random.exponential(cluster.lost_after_s, int(expected) + 10).cumsum()


def fewest_cores(arrivals: Seconds, service: Seconds, within_s: float, seed: int) -> tuple[int, Seconds]:
    """The smallest number of cores with which 99 of 100 images are answered in time, and how long each takes then."""
    load = len(arrivals) * service.mean() / max(float(arrivals[-1] - arrivals[0]), 1e-9)
    cores = max(1, int(np.ceil(load)))
    while True:
        took = responses(arrivals, service, cores, np.random.default_rng(seed))
        if np.percentile(took, 99) <= within_s:
            return cores, took
        cores += max(1, cores // 50)


def batches_of(images: int, fewest: int, most: int, about: int) -> list[int]:
    """Sizes of the batches of an archive, as `service.archive.plan` makes them."""
    size = min(most, max(fewest, -(-images // about)))
    edges = [*range(0, images, size), images]
    return [after - before for before, after in pairwise(edges)]
