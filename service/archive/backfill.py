"""The use case: every image of an archive has its rows in one table, once; begun, or gone on with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from pydantic import ValidationError

from model_store.copies import archive as tar
from model_store.loading import load
from model_store.seeding import seed
from model_store.store import PRODUCTION, ModelStore
from model_store.version import Version
from service.archive.asked import Asked
from service.archive.cluster import cluster, run
from service.archive.outputs import Outputs
from service.archive.plan import Plan
from service.archive.work import VERSION, Done, Run, Work
from service.errors import OutputsExist, SettingsInvalid
from service.history import History
from service.settings import Settings

RUN = "run.json"


@contextmanager
def opened(asked: Asked, settings: Settings) -> "Iterator[Backfill]":
    """The run that is asked for, begun or gone on with, for this command alone.

    Raises:
        OutputsExist: The folder holds a run of something else, another command is at it, or it lies in the archive.
        ModelStoreError, EFSNetError: The version is not there, damaged, or not signed as asked.
        ArchiveUnusable: The folder cannot be opened.
        SettingsInvalid: There is no such DICOM attribute, or an address holds a password.
    """
    _check_tags(asked.tags)
    if any(urlsplit(place).password for place in (asked.out, asked.archive or "")):
        raise SettingsInvalid(
            "An address holds a password, which the results would keep: set it as a variable, as AWS_SECRET_ACCESS_KEY."
        )
    place, archive = _absolute(asked.out) or "", _absolute(asked.archive)
    if archive and Path(place).resolve().is_relative_to(Path(archive).resolve()):
        raise OutputsExist("The results would lie in the archive, as images of it: name a folder elsewhere.")
    outputs = Outputs(place)
    with outputs.held():
        run = _begun(asked, outputs, settings) or _begin(asked, outputs, settings)
        yield Backfill(Work(run, place, settings, settings.read_trust()), asked.cluster)


class Backfill:
    """A run, as far as it is.

    Args:
        work: What is to be done.
        address: Of the cluster that does it; this machine alone without.
    """

    def __init__(self, work: Work, address: str | None) -> None:
        self.run = work.run
        self.work = work
        self._address = address
        self._plan = Plan(work.outputs)

    def plan(self) -> int:
        """Looks what there is, if all that was planned is done. Returns how many images are left to do.

        Raises:
            ArchiveUnusable, PacsError: The archive cannot be listed.
        """
        if not self._plan.pending():
            self._plan.extend(self.work.archive.sources())
        return sum(len(batch.sources(self.work.outputs)) for batch in self._plan.pending())

    def go(self) -> Iterator[Done]:
        """Does what is left, and yields what became of each batch.

        Raises:
            ArchiveUnusable: There is no cluster, or it gave up.
        """
        if pending := self._plan.pending():
            with cluster(self._address):
                yield from run(replace(self.work), pending)

    def finish(self) -> int:
        """Makes the table if it is not there, and returns how many rows it has."""
        return self._plan.compacted or self._plan.compact()


def _begun(asked: Asked, outputs: Outputs, settings: Settings) -> Run | None:
    """The run that the folder holds, if it is the one that is asked for."""
    text = outputs.read(RUN)
    if text is None:
        return None
    try:
        begun = Run.model_validate_json(text)
    except ValidationError as error:
        raise OutputsExist(f"{asked.out}/{RUN} is damaged: name another folder.") from error
    digest = begun.digest if asked.version is None else str(_found(settings, asked.version).digest)
    if begun != _as_asked(asked, begun.model, digest):
        raise OutputsExist(f"{asked.out} holds a run of another archive, version, spacing or tags: name another.")
    return begun


def _begin(asked: Asked, outputs: Outputs, settings: Settings) -> Run:
    """Verifies the version, and writes it and what the run is."""
    seed(settings.store)
    version = _found(settings, asked.version or PRODUCTION)
    load(version, settings.computation, trust=settings.read_trust())
    with TemporaryDirectory() as scratch:
        tar.write(version, Path(scratch, VERSION))
        outputs.write(VERSION, Path(scratch, VERSION).read_bytes())
    made = _as_asked(asked, version.name, str(version.digest))
    # Last: a folder that says what the run is holds all that it needs.
    outputs.write(RUN, made.model_dump_json(indent=2).encode())
    return made


def _as_asked(asked: Asked, model: str, digest: str) -> Run:
    spacing = (asked.spacing.row_mm, asked.spacing.column_mm) if asked.spacing else None
    return Run(
        archive=_absolute(asked.archive),
        query=asked.query,
        model=model,
        digest=digest,
        pixel_spacing_mm=spacing,
        tags=asked.tags,
    )


def _found(settings: Settings, reference: str) -> Version:
    return History(ModelStore(settings.store), settings.promotions_folder).version(settings.model, reference)


def _absolute(place: str | None) -> str | None:
    """The same folder from wherever the command is given."""
    return place if place is None or "://" in place else str(Path(place).absolute())


def _check_tags(tags: tuple[str, ...]) -> None:
    if not tags:
        return
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # noqa: PLC0415 (heavy, and needed only here)

    for keyword in tags:
        if tag_for_keyword(keyword) is None or dictionary_VR(keyword).startswith(("O", "SQ", "UN")):
            raise SettingsInvalid(f"--tag {keyword}: give the keyword of a DICOM attribute of text, as in StudyDate.")
