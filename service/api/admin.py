"""For whoever runs the service."""

from fastapi import APIRouter

from service import errors
from service.api.problems import responses
from service.api.schemas import ReplayedImage, SelfTested
from service.selftest import SelfTest


def admin_routes(selftest: SelfTest) -> APIRouter:
    """What nobody else may ask for."""
    router = APIRouter(prefix="/v1/admin", tags=["admin"])

    @router.post("/selftest", responses=responses(errors.SelfTestFailed, errors.ModelNotReady, errors.QueueFull))
    async def test() -> SelfTested:
        """Replays the reference images of the version that answers, now.

        What fails answers no more, until it passes again; the service tries by itself each minute.
        """
        return SelfTested(replay=tuple(ReplayedImage.model_validate(image) for image in await selftest.run()))

    return router
