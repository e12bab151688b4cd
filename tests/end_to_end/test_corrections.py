"""What an expert corrects in the service is what training reads."""

from pathlib import Path

import numpy as np
import pytest

from efsnet.image import Image
from efsnet.maps import LabelMap
from service.corrections import Corrections
from tests.service.test_corrections import correction
from training.datasets.reading import read


@pytest.mark.requirement("UI-3")
def test_training_reads_what_was_corrected(tmp_path: Path) -> None:
    """Pictures, masks, classes and patients, as they were kept."""
    folder = tmp_path / "ours"
    corrections = Corrections(folder)
    kept = {corrections.save(given): given for given in (correction(), correction(1), correction(1, 2))}
    records = read([folder])

    assert list(kept) == [record.name for record in records]
    for record in records:
        given = kept[record.name]
        assert given.kind == record.kind
        np.testing.assert_array_equal(Image(record.read_image().pixels).pixels, given.image.pixels)
        np.testing.assert_array_equal(LabelMap(record.read_reference()).array, given.label_map.array)
