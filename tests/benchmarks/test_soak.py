"""The service under load for minutes, and what counts as having held."""

from dataclasses import replace

import pytest

from benchmarks.soak import Counts, Sample, Soak, measure

SAMPLES = tuple(Sample(float(number), 200.0, 11, 10 * number) for number in range(1, 31))
STEADY = Soak(90, 4, pause_s=0.1, cpu_s=45.0, counts=Counts(right=900), samples=SAMPLES)


def last(sample: Sample, soak: Soak = STEADY) -> Soak:
    """The same, but for the last third."""
    return replace(soak, samples=(*soak.samples[:20], *[sample] * 10))


def test_what_is_steady_and_right_has_held() -> None:
    """Refusals are no fault: who is refused asks again."""
    assert STEADY.held
    assert replace(STEADY, counts=Counts(right=900, refused=50)).held
    assert "4 clients with pauses of 0.1 s, 0.50 cores taken." in STEADY.as_markdown()
    assert "| 90 | 900 | 0 | 0 | 0 | 200, 200 | 11 |" in STEADY.as_markdown()


@pytest.mark.parametrize(
    "soak",
    [
        replace(STEADY, counts=Counts()),
        replace(STEADY, counts=Counts(right=900, wrong=1)),
        replace(STEADY, counts=Counts(right=900, failed=1)),
        last(Sample(90.0, 215.0, 11, 900)),
        last(Sample(90.0, 200.0, 12, 900)),
    ],
    ids=["no answer", "a wrong mask", "a failure", "more memory", "more files"],
)
def test_what_is_wrong_or_grows_has_not_held(soak: Soak) -> None:
    """Each by itself."""
    assert not soak.held


@pytest.mark.system
@pytest.mark.timeout(600)
def test_two_minutes_under_load() -> None:
    """Every mask is that of the model without a service, memory and open files stay as they are once it is warm."""
    soak = measure(seconds=120, clients=4)

    assert soak.held, soak.as_json()
