"""Tests of the benchmark of the stages."""

from benchmarks.processes import REPOSITORY
from benchmarks.stages import STAGES, measure


def test_each_checkout_has_a_row_with_the_time_of_each_stage() -> None:
    """They run in processes of their own, and take turns."""
    lines = measure({"before": REPOSITORY, "after": REPOSITORY}, rounds=1, repeats=1).splitlines()

    rows = [line.strip("| ").split(" | ") for line in lines[-2:]]
    assert f"| | {' | '.join(STAGES)} | all |" in lines
    assert ["before", "after"] == [row[0] for row in rows]
    assert all(float(spent) > 0 for row in rows for spent in row[1:])
    assert {len(STAGES) + 2} == {len(row) for row in rows}
