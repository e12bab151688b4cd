"""What is published, and what a version says of itself."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path

from model_store.errors import (
    IntegrityError,
    KeyUnusable,
    ModelUnknown,
    SignatureInvalid,
    SignatureUntrusted,
    SignerUnknown,
    StoreUnusable,
    VersionUnknown,
)
from model_store.signatures import Trust, verify
from model_store.version import Version
from service.api.problems import PARAMETER_INVALID, responses
from service.api.store_schemas import Model, Models, PublishedVersion, SignatureState, VersionSummary
from service.errors import StateUnusable, StoreSetBack
from service.versions import Versions

Name = Annotated[str, Path(description="A model", examples=["efsnet"])]
Reference = Annotated[
    str, Path(description="A number, an alias, or a digest in full", examples=["1", "production", "sha256:…"])
]


_READING = (IntegrityError, StoreUnusable, StoreSetBack, StateUnusable)


def model_routes(versions: Versions, read_trust: Callable[[], Trust]) -> APIRouter:
    """The store, to be read."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    # Not async: these read the disk, so FastAPI calls them in a thread.
    @router.get("", responses=responses(*_READING))
    def models() -> Models:
        """Every model."""
        return Models(default=versions.model, models=[_model(versions, name) for name in versions.store.names()])

    @router.get("/{name}", responses=responses(ModelUnknown, *_READING, PARAMETER_INVALID))
    def model(name: Name) -> Model:
        """One model and its versions."""
        versions.check_name(name)
        return _model(versions, name)

    @router.get(
        "/{name}/versions/{reference}",
        responses=responses(ModelUnknown, VersionUnknown, KeyUnusable, *_READING, PARAMETER_INVALID),
    )
    def version(name: Name, reference: Reference) -> PublishedVersion:
        """One version: its manifest, which holds its classes, its evaluation and its intended use."""
        found = versions.find(name, reference)
        signature = _signature(found, read_trust())
        aliases = versions.named(found.name)
        return PublishedVersion(**_summary(versions, found, aliases), signature=signature, manifest=found.manifest)

    return router


def _model(versions: Versions, name: str) -> Model:
    published = versions.store.versions(name)
    aliases = versions.named(name)
    return Model(name=name, versions=[VersionSummary(**_summary(versions, each, aliases)) for each in published])


def _summary(versions: Versions, version: Version, aliases: Mapping[str, int]) -> dict[str, Any]:
    return {
        "version": version.number,
        "digest": str(version.digest),
        "created_at": version.manifest.created_at,
        "aliases": [alias for alias, number in aliases.items() if number == version.number],
        "loaded": any(loaded.version.digest == version.digest for loaded in versions.loaded),
    }


def _signature(version: Version, trust: Trust) -> SignatureState:
    if trust.keys is None:
        return SignatureState(state="not_looked_at", signer=None)
    try:
        return SignatureState(state="trusted", signer=verify(version, trust.keys).signer)
    except SignerUnknown:
        return SignatureState(state="signer_unknown", signer=None)
    except SignatureInvalid:
        return SignatureState(state="invalid", signer=None)
    except SignatureUntrusted:
        return SignatureState(state="unsigned", signer=None)
