"""The plan at scale is what its figures give."""

import json
from pathlib import Path

import pytest

from benchmarks.scale import plan_of_nation, tables

FIGURES = Path("docs", "benchmarks", "scale.json")


def test_the_document_has_the_tables_of_its_figures(repository: Path) -> None:
    """Line for line, what held and what did not."""
    document = (repository / "docs" / "scale.md").read_text(encoding="utf-8")
    lines = tables((repository / FIGURES).read_text(encoding="utf-8")).splitlines()

    assert len(lines) > 20
    assert [] == [line for line in lines if line not in document]


def test_the_same_measurements_give_the_same_plan(repository: Path) -> None:
    """What draws is seeded: whoever has the figures finds the hours again."""
    found = json.loads((repository / FIGURES).read_text(encoding="utf-8"))
    (printed,) = (plan for plan in found["plans"]["nation"] if plan["machines"] == 64)

    assert pytest.approx(printed) == plan_of_nation(found["archive"], machines=64)
