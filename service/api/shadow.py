"""How a candidate does beside production."""

from fastapi import APIRouter

from model_store.errors import ModelUnknown, StoreUnusable
from service.api.models import Name
from service.api.problems import PARAMETER_INVALID, responses
from service.api.store_schemas import ComparedClasses, ComparedDice, ComparedVersion, ShadowAgreement, ShadowRun
from service.shadow import Agreement, Shadow
from service.versions import Versions


def shadow_routes(shadow: Shadow, versions: Versions) -> APIRouter:
    """For whoever decides on a candidate."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    # Not async: it reads the disk, so FastAPI calls it in a thread.
    @router.get("/{name}/shadow", responses=responses(ModelUnknown, StoreUnusable, PARAMETER_INVALID))
    def run(name: Name) -> ShadowRun:
        """How far the version of the alias `candidate` agrees with production on live images.

        Only the default model has a shadow run. Its figures begin anew at each start, and when a version changes.
        """
        versions.check_name(name)
        agreement = shadow.agreement() if name == versions.model else None
        return ShadowRun(share=shadow.share, agreement=agreement and _agreement(agreement))

    return router


def _agreement(found: Agreement) -> ShadowAgreement:
    production, candidate = (
        ComparedVersion(
            version=version.number,
            digest=str(version.digest),
            infer_ms=1000 * seconds / found.images if found.images else None,
        )
        for version, seconds in zip((found.production, found.candidate), found.infer_s, strict=True)
    )
    dice = None
    if found.dice_minimum is not None:
        mean = found.dice_sum / found.with_lesion
        dice = ComparedDice(images=found.with_lesion, mean=mean, minimum=found.dice_minimum)
    return ShadowAgreement(
        production=production,
        candidate=candidate,
        images=found.images,
        dropped=found.dropped,
        failed=found.failed,
        dice=dice,
        classes=tuple(
            ComparedClasses(production=ours, candidate=theirs, images=images)
            for (ours, theirs), images in sorted(found.classes.items())
        ),
    )
