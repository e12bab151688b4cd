"""The plots show what was measured."""

import json
from pathlib import Path

from benchmarks.growth import draw


def test_every_measurement_has_its_plot(tmp_path: Path) -> None:
    """Six of them on one page, with their units."""
    row = {"cpu_ms": 20.0, "per_s": 50.0, "p50_ms": 30.0, "p99_ms": 40.0, "refused": 0, "pss_mb": 200.0}
    content = {
        "image": [{"megapixels": 1, "kind": kind, **row} for kind in ("png", "jpeg")],
        "connections": [{"connections": 4, **row}],
        "cores": [{"cores": 1, **row}],
        "versions": [{"versions": 1, "pss_mb": 200.0}],
        "on_end": [{"requests": 50, "pss_mb": 200.0, "per_s": 50.0, "refused": 0}],
    }

    draw(json.dumps(content), tmp_path / "growth.svg")
    page = (tmp_path / "growth.svg").read_text(encoding="utf-8")

    assert 6 == page.count('id="axes_')
