"""What is published, and what a version says of itself."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from model_store.errors import IntegrityError, ModelUnknown, StoreUnusable, VersionUnknown
from model_store.version import Version
from service.api.problems import PARAMETER_INVALID, responses
from service.api.schemas import Model, Models, PublishedVersion, VersionSummary
from service.errors import StateUnusable, StoreSetBack
from service.versions import Versions

Name = Annotated[str, Path(description="A model", examples=["efsnet"])]
Reference = Annotated[
    str, Path(description="A number, an alias, or a digest in full", examples=["1", "production", "sha256:…"])
]


def model_routes(versions: Versions) -> APIRouter:
    """The store, to be read."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    # Not async: these read the disk, so FastAPI calls them in a thread.
    @router.get("", responses=responses(StoreUnusable))
    def models() -> Models:
        """Every model."""
        return Models(default=versions.model, models=[_model(versions, name) for name in versions.store.names()])

    @router.get("/{name}", responses=responses(ModelUnknown, StoreUnusable, PARAMETER_INVALID))
    def model(name: Name) -> Model:
        """One model and its versions."""
        versions.check_name(name)
        return _model(versions, name)

    @router.get(
        "/{name}/versions/{reference}",
        responses=responses(
            *(ModelUnknown, VersionUnknown, IntegrityError, StoreUnusable, StoreSetBack, StateUnusable),
            PARAMETER_INVALID,
        ),
    )
    def version(name: Name, reference: Reference) -> PublishedVersion:
        """One version: its manifest, which holds its classes, its evaluation and its intended use."""
        found = versions.find(name, reference)
        return PublishedVersion(**_summary(versions, found), manifest=found.manifest)

    return router


def _model(versions: Versions, name: str) -> Model:
    published = versions.store.versions(name)
    return Model(name=name, versions=[VersionSummary(**_summary(versions, version)) for version in published])


def _summary(versions: Versions, version: Version) -> dict[str, Any]:
    aliases = versions.store.aliases(version.name)
    return {
        "version": version.number,
        "digest": str(version.digest),
        "created_at": version.manifest.created_at,
        "aliases": [alias for alias, number in aliases.items() if number == version.number],
        "loaded": any(loaded.version.digest == version.digest for loaded in versions.loaded),
    }
