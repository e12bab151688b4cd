"""Tests of fitting the domain to data sets."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from efsnet.domain import Domain
from training.__main__ import app
from training.datasets.reading import read
from training.domain import SCALES, beyond, fit
from training.errors import TooFewScenes

MakeBusi = Callable[[Sequence[tuple[str, int]]], Path]


@pytest.fixture
def data(make_busi: MakeBusi) -> Path:
    """Sixty made images."""
    return make_busi([("benign", 30), ("malignant", 20), ("normal", 10)])


def test_each_scene_is_measured_by_a_fit_that_has_not_seen_it(data: Path) -> None:
    """All are tested at each size, one of two hundred is beyond the limit, and there is no other set to fit to."""
    fitted = fit(read([data]))

    assert {"BUSI": 60} == fitted.images
    assert len(SCALES) == len(fitted.warned["BUSI"])
    assert sum(fitted.warned["BUSI"]) == pytest.approx(1 / 60)
    assert not fitted.warned_elsewhere


def test_each_of_several_sets_is_also_measured_by_the_others(data: Path) -> None:
    """What a hospital that was not fitted to may expect: of the same images under another name, hardly a warning."""
    records = read([data])
    twice = [*records, *(replace(record, dataset="Another") for record in records)]
    fitted = fit(twice)

    assert {"BUSI", "Another"} == fitted.warned_elsewhere.keys()
    assert all(sum(shares) <= 2 / 60 for shares in fitted.warned_elsewhere.values())


def test_what_is_too_small_for_five_folds_is_refused(make_busi: MakeBusi) -> None:
    """A limit from images that were fitted to would be too narrow."""
    with pytest.raises(TooFewScenes):
        fit(read([make_busi([("benign", 3)])]))


def test_the_command_writes_a_domain_and_counts_foreign_images(data: Path, tmp_path: Path) -> None:
    """Images of the set itself, as if they were foreign, are not beyond the limit; what is beyond is counted."""
    foreign = tmp_path / "foreign" / "photographs"
    foreign.mkdir(parents=True)
    for path in sorted((data / "benign").glob("*[0-9]).png"))[:4]:
        (foreign / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "domain.json"

    arguments = ["domain", str(data), "--out", str(out), "--foreign", str(foreign.parent)]
    printed = CliRunner().invoke(app, arguments, catch_exceptions=False)

    assert printed.exit_code == 0
    assert "photographs" in printed.output
    domain = Domain.parse(out.read_text(encoding="utf-8"))
    caught, images = beyond(domain, foreign)
    assert images == 4
    assert caught <= 1
    assert beyond(replace(domain, limit=-1.0), foreign) == (4, 4)
    assert np.isfinite(domain.limit)
