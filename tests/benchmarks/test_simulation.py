"""The simulation gives what queueing theory gives, where that has a formula."""

import numpy as np
import pytest

from benchmarks.simulation import DAY, Arrivals, Cluster, batches_of, duration, fewest_cores, responses


def random() -> np.random.Generator:
    """The same each time."""
    return np.random.default_rng(1)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_core_waits_as_long_as_pollaczek_and_khinchine_say(load: float) -> None:
    """Of a Poisson process and service times of no spread (M/D/1): load / 2 (1 - load) service times."""
    arrivals = random().exponential(1 / load, 40_000).cumsum()
    waited = responses(arrivals, np.ones(1), 1, random()) - 1

    assert waited.mean() == pytest.approx(load / (2 * (1 - load)), rel=0.08)


def test_more_cores_wait_less_until_none_waits() -> None:
    """What remains is the service time."""
    arrivals = random().exponential(0.5, 2000).cumsum()
    means = [responses(arrivals, np.ones(1), cores, random()).mean() for cores in (3, 4, 20)]

    assert means[0] > means[1] > means[2] == pytest.approx(1)


def test_the_fewest_cores_are_just_enough() -> None:
    """One less is not."""
    arrivals = random().exponential(0.25, 4000).cumsum()
    cores, took = fewest_cores(arrivals, np.ones(1), 1.5, seed=1)

    assert np.percentile(took, 99) <= 1.5 < np.percentile(responses(arrivals, np.ones(1), cores - 1, random()), 99)


def test_a_busiest_hour_has_its_share_of_the_day() -> None:
    """In order, each study's images one after the other."""
    coming = Arrivals(studies_per_day=20_000, images_per_study=10, between_s=20)
    times = coming.busiest_hour(random(), most=10**6)

    assert len(times) == pytest.approx(200_000 * max(DAY) / sum(DAY), rel=0.05)
    assert (np.diff(times) >= 0).all()
    assert 0 <= times[0] < times[-1] < 3600
    assert len(coming.busiest_hour(random(), most=1000)) == pytest.approx(1000, rel=0.4)


def test_an_archive_takes_its_work_over_the_cores() -> None:
    """Beside the start, and the last batch of each core."""
    batches = batches_of(10_000, 16, 256, 1000)

    assert 10_000 == sum(batches)
    assert {16} == set(batches)
    assert duration(batches, np.array([0.1]), Cluster(5, 2, start_s=7), random()) == pytest.approx(107, rel=0.02)


def test_lost_machines_cost_time_and_no_batch() -> None:
    """What they were at is done again."""
    batches = [100] * 200
    whole = duration(batches, np.ones(1), Cluster(4, 1), random())
    broken = duration(batches, np.ones(1), Cluster(4, 1, lost_after_s=1000, back_after_s=50), random())

    assert whole == pytest.approx(5000)
    assert 5000 < broken < 7000
