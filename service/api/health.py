"""Whether the service lives, is ready, and how it does."""

import platform
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, FastAPI, Request
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from model_store.loading import LoadedVersion
from service.api.problems import responses, told
from service.api.schemas import Alive, Queue, Ready, ReplayedImage, ServiceVersion, model_of
from service.audit.trail import Trail
from service.corrections import Corrections
from service.errors import AuditUnavailable, ModelNotReady, Stopping
from service.metrics import Metrics
from service.segmentation import Segmenter


def service_version() -> str:
    """Of this package, as installed."""
    try:
        return version("efsnet")
    except PackageNotFoundError:
        return "not installed"


def ready_version(app: FastAPI, segmenter: Segmenter, trail: Trail) -> LoadedVersion:
    """The version that answers by default, while the service should be sent work.

    Raises:
        Stopping: It is about to end.
        AuditUnavailable: Nothing can be recorded.
        ModelNotReady: No version answers.
    """
    if app.state.stopping:
        raise Stopping("Running work is finished; send new work elsewhere.")
    if trail.trouble:
        raise AuditUnavailable(trail.trouble)
    return segmenter.versions.default


def health_routes(segmenter: Segmenter, metrics: Metrics, corrections: Corrections, trail: Trail) -> APIRouter:
    """For whoever runs the service."""
    router = APIRouter(tags=["health"])

    @router.get("/livez", responses=responses())
    async def livez() -> Alive:
        """The process runs and answers."""
        return Alive(status="alive")

    @router.get("/readyz", responses=responses(ModelNotReady, Stopping, AuditUnavailable))
    async def readyz(request: Request) -> Ready:
        """The default version is verified, has given the label maps of its reference images, and answers."""
        loaded, pool = ready_version(request.app, segmenter, trail), segmenter.pool
        return Ready(
            status="ready",
            model=model_of(loaded),
            signed_by=loaded.signature.signer if loaded.signature else None,
            troubles=[told(request, trouble) for trouble in segmenter.versions.troubles],
            replay=[ReplayedImage.model_validate(image) for image in loaded.replay],
            queue=Queue(waiting=pool.waiting, running=pool.running, workers=pool.workers, capacity=pool.capacity),
        )

    @router.get("/metrics", responses={200: {"content": {"text/plain": {}}}, **responses()}, response_class=Response)
    async def prometheus() -> Response:
        """What Prometheus scrapes."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/version", responses=responses())
    async def service() -> ServiceVersion:
        """What runs here."""
        return ServiceVersion(service=service_version(), python=platform.python_version(), corrections=corrections.on)

    return router
