"""How an instance becomes an answer: by the version in production, behind all live work."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from efsnet.errors import ImageError
from model_store.errors import ModelStoreError, VersionUnknown
from model_store.loading import LoadedVersion
from service.dicom.analyser import Analyser, DicomUpload
from service.dicom.identity import ROLES
from service.dicom.results import ResultOptions, results, to_file
from service.errors import (
    InstanceUnreadable,
    InstanceUnusable,
    ModelNotReady,
    NoPixels,
    NotAnalysable,
    NoTissueRegion,
    NotUltrasound,
    StoreSetBack,
    VersionTooLarge,
)
from service.pacs.answering import Answer, Result
from service.versions import Versions

T = TypeVar("T")


class StoreAnalysis:
    """Analyses with the versions of the store. Called by threads other than the loop's."""

    def __init__(
        self, analyser: Analyser, versions: Versions, roles: frozenset[str], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._analyser = analyser
        self._versions = versions
        self._options = ResultOptions(frozenset(role for role in ROLES if role in roles))
        self._loop = loop

    def __call__(self, data: bytes, version: str | None) -> Answer:
        """The answer to an instance, of the version of this digest, or of the one in production.

        Raises:
            NotAnalysable: It shows no tissue, or is no ultrasound.
            InstanceUnreadable: It does, and cannot be read or referred to: a person has to look.
            ModelNotReady: No version is loaded, or the one that began the answer cannot be.
        """
        loaded = self._await(self._version(version))
        try:
            analysis = self._await(self._analyser.analyse(DicomUpload(data), loaded, waits=True))
            made = results(analysis, self._options)
        except (NotUltrasound, NoTissueRegion, NoPixels) as error:
            raise NotAnalysable(str(error)) from error
        except (ImageError, InstanceUnusable) as error:
            raise InstanceUnreadable(str(error)) from error
        header = analysis.source.header
        return Answer(
            str(loaded.version.digest),
            (str(header.StudyInstanceUID), str(header.SOPInstanceUID)),
            tuple(Result(role, str(result.SOPInstanceUID), to_file(result)) for role, result in made),
        )

    async def _version(self, digest: str | None) -> LoadedVersion:
        try:
            return await self._versions.get(None, digest)
        except VersionUnknown:  # it was taken out of the store meanwhile
            return await self._versions.get(None, None)
        except (ModelStoreError, StoreSetBack, VersionTooLarge) as error:  # as a store that is away for a while
            raise ModelNotReady(f"The version that began the answer cannot be loaded: {error}") from error

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
