"""What a machine of the cluster does: it verifies the version for itself, and makes the parts of batches."""

import tempfile
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from pydantic import BaseModel, ConfigDict

from efsnet.image import PixelSpacing
from model_store.copies import archive as tar
from model_store.copies.arrival import Order, arrive
from model_store.digest import Digest
from model_store.loading import load
from model_store.signatures import Trust
from model_store.store import ModelStore
from service.archive.outputs import Outputs
from service.archive.plan import Batch, column, opened
from service.archive.rows import Row, Rows, Status, failed, schema
from service.archive.sources import Archive, open_archive
from service.dicom.decoding import DecoderProcess
from service.dicom.source import Limits
from service.errors import BodyTooLarge, InstanceGone, InstanceTooLarge, PacsError, PacsRefused
from service.settings import Settings

VERSION = "version.tar"
AHEAD = 4
"""Files that are read while others are analysed."""

PAUSES_S = (1.0, 4.0, 16.0, 64.0)
"""Between tries to read a file from what fails for the moment."""

BLIND_TRIES = 2
"""Attempts at a batch before each image is noted as it is begun, to find the one that ends the process."""

ENDS = 2
"""How often a process must have ended at an image for it to be passed over: once may be chance."""

ENDED = "The process that analysed it ended each time: a library crashed, or there was not enough memory."


class Run(BaseModel):
    """What a run is, from its first start on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    archive: str | None
    """A folder or the URI of one in a bucket; or else the PACS is searched."""
    query: str | None
    model: str
    digest: str
    """Of the version."""
    pixel_spacing_mm: tuple[float, float] | None
    tags: tuple[str, ...]

    @property
    def spacing(self) -> PixelSpacing | None:
        """Of all images, if a person gave it."""
        return PixelSpacing(*self.pixel_spacing_mm) if self.pixel_spacing_mm else None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a batch: its images, and the number of rows by their status."""

    images: int = 0
    segmented: int = 0
    unusable: int = 0
    unavailable: int = 0


@dataclass(frozen=True)
class Work:
    """All that a machine is told. It goes over the cluster's network, and so do the PACS's credentials in it."""

    run: Run
    place: str
    """Of the outputs."""
    settings: Settings
    trust: Trust

    @cached_property
    def outputs(self) -> Outputs:
        """The run's folder."""
        return Outputs(self.place)

    @cached_property
    def archive(self) -> Archive:
        """Where the images are."""
        return open_archive(self.settings, self.run.archive, self.run.query)

    @cached_property
    def rows(self) -> Rows:
        """The version, verified on this machine as the service verifies one, and what makes rows with it.

        Raises:
            ModelStoreError, EFSNetError: It is damaged, not signed as asked, or does not give its reference images.
        """
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, VERSION)
            file.write_bytes(self.outputs.read(VERSION) or b"")
            order = Order(self.run.model, Digest.parse(self.run.digest))
            version = arrive(ModelStore(Path(scratch, "store")), tar.read(file), order).version
            loaded = load(version, self.settings.computation, trust=self.trust)
        limits = Limits(self.settings.max_pixels, self.settings.max_frames, self.settings.max_dicom_bytes)
        return Rows(loaded, limits, DecoderProcess(), self.run.spacing, self.run.tags)

    def do(self, batch: Batch) -> Done:
        """Makes the part of a batch, if it is not there."""
        if (done := self._done(batch)) is not None:
            return done
        before = self.outputs.names(batch.attempts)
        self.outputs.write(f"{batch.attempts}/begun-{uuid.uuid4().hex}", b"")
        careful = sum(name.startswith("begun-") for name in before) >= BLIND_TRIES
        sources = batch.sources(self.outputs)
        fatal = {at for at in range(len(sources)) if sum(name.startswith(f"at-{at}-") for name in before) >= ENDS}
        rows: list[Row] = []
        files = self._read_ahead(source for at, source in enumerate(sources) if at not in fatal)
        for at, source in enumerate(sources):
            if at in fatal:
                rows.append(failed(source, "unusable", ENDED))
                continue
            mark = f"{batch.attempts}/at-{at}-{uuid.uuid4().hex}" if careful else None
            if mark:
                self.outputs.write(mark, b"")
            read = next(files)
            rows += [failed(source, *read)] if isinstance(read, tuple) else self.rows.of(source, read)
            if mark:
                self.outputs.remove(mark)
        specification = self.rows.loaded.version.manifest.specification
        with self.outputs.writing(batch.part) as file:
            table = pa.Table.from_pylist(rows, schema(specification, self.run.tags))
            parquet.write_table(table, file, compression="zstd")
        self.outputs.remove(batch.attempts)
        return Done(len(sources), **Counter(row["status"] for row in rows))

    def _done(self, batch: Batch) -> Done | None:
        try:
            with opened(self.outputs, batch.part) as part:
                statuses = column(part.read(["status"]), "status")
            return Done(len(batch.sources(self.outputs)), **Counter(statuses))
        except FileNotFoundError:
            return None

    def _read_ahead(self, sources: Iterable[str]) -> Iterator[bytes | tuple[Status, Exception]]:
        """Each file, or why there is none; some are read meanwhile, since a bucket or PACS takes its time."""
        with ThreadPoolExecutor(AHEAD) as readers:
            reading: deque[Future[bytes | tuple[Status, Exception]]] = deque()
            for source in sources:
                reading.append(readers.submit(self._read, source))
                if len(reading) > AHEAD:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()

    def _read(self, source: str) -> bytes | tuple[Status, Exception]:
        for pause_s in PAUSES_S:
            try:
                return self.archive.read(source)
            except (BodyTooLarge, InstanceTooLarge) as error:
                return "unusable", error
            except (FileNotFoundError, PermissionError, InstanceGone, PacsRefused) as error:
                return "unavailable", error
            except (OSError, PacsError) as error:
                failure: Exception = error
                time.sleep(pause_s)
            except Exception as error:  # noqa: BLE001 - one file that fails must not keep the others from being done
                return "unavailable", error
        return "unavailable", failure


_KEPT: dict[tuple[str, Run], Work] = {}


def kept(work: Work) -> Work:
    """The same work as this process has it already, with its version loaded."""
    return _KEPT.setdefault((work.place, work.run), work)
