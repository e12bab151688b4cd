"""Analyses of made instances by the tiny model."""

import time
from collections.abc import Callable, Iterator

import pytest
from pydicom import Dataset

from efsnet.predictor import Computation
from model_store.loading import LoadedVersion, load
from model_store.store import ModelStore
from service.dicom.analysis import Analysis, FrameFinding
from service.dicom.decoding import DecoderProcess
from service.dicom.source import Limits, read_source
from service.segmentation import Stages, segment_picture
from tests.service.dicom.instances import part10

Analyse = Callable[[Dataset], Analysis]
AnalyseFile = Callable[[bytes], Analysis]


@pytest.fixture(scope="module")
def decoder() -> Iterator[DecoderProcess]:
    """One process for all tests of a module."""
    process = DecoderProcess()
    yield process
    process.close()


@pytest.fixture
def loaded(published_store: ModelStore) -> LoadedVersion:
    """The tiny version."""
    return load(published_store.version("efsnet", "production"), Computation(provider="cpu"))


@pytest.fixture
def analyse_file(loaded: LoadedVersion, decoder: DecoderProcess) -> AnalyseFile:
    """All frames of a DICOM file, as the service analyses them."""
    specification = loaded.version.manifest.specification

    def analysed(data: bytes) -> Analysis:
        source = read_source(data, Limits(25_000_000, 1000, 100_000_000), decoder)
        findings = [
            FrameFinding.of(
                index,
                segment_picture(
                    source.picture(index), "original", specification, loaded.predictor, Stages(time.perf_counter())
                ),
            )
            for index in range(source.number_of_frames)
        ]
        return Analysis(source, loaded, tuple(findings), source.spacing)

    return analysed


@pytest.fixture
def analyse(analyse_file: AnalyseFile) -> Analyse:
    """All frames of a data set that is not compressed."""
    return lambda made: analyse_file(part10(made))
