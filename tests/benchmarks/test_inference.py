"""Figures become the table that the documents show."""

import json

from benchmarks.inference import as_markdown


def test_a_way_is_compared_with_eager_and_with_a_matrix_product() -> None:
    """Half of eager's CPU time is twice as fast; 50 GFLOP/s are half of a matrix product's 100."""
    ways = [
        {"name": "eager", "cpu_ms": 80.0, "ms": 100.0, "differing": 0.0},
        {"name": "ours", "cpu_ms": 40.0, "ms": 40.0, "differing": 0.0005},
    ]
    table = {
        "side": 512,
        "threads": 1,
        "gflop": 2.0,
        "matrix_gflops": 100.0,
        "machine_images_per_s": 42.0,
        "ways": ways,
    }
    content = {
        "machine": "a machine",
        "cores": 2,
        "load_average": [0.1, 0.2],
        "versions": {"torch": "2.13.0"},
        "rounds": 5,
        "repeats": 10,
        "tables": [table],
    }

    text = as_markdown(json.dumps(content))

    assert "| eager | 80.0 | 100.0 | 10.0 | 20 | 20% | 1.0 | 0.0000% |" in text
    assert "| ours | 40.0 | 40.0 | 25.0 | 50 | 50% | 2.0 | 0.0500% |" in text
    assert "load average 0.1 before and 0.2 after; torch 2.13.0" in text
