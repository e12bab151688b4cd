"""Which version answers: promoted and rolled back by request, on the record."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from efsnet.errors import EngineUnavailable, ModelUnusable
from model_store import errors as store_errors
from model_store.manifest import NAME_PATTERN
from model_store.promotions import Promotion
from service import errors
from service.api.models import Name
from service.api.problems import PARAMETER_INVALID, responses
from service.api.store_schemas import AliasAnswer, AliasChange, AliasUndone, RecordedPromotion
from service.decisions import Change, Decisions

Alias = Annotated[
    str,
    Path(description="A name for a version", examples=["production"], json_schema_extra={"pattern": NAME_PATTERN}),
]

_PROBLEMS = (
    *(store_errors.ModelUnknown, store_errors.VersionUnknown, store_errors.PromotionConflict),
    *(store_errors.IntegrityError, store_errors.StoreUnusable, ModelUnusable, EngineUnavailable),
    *(store_errors.Unsigned, store_errors.SignerUnknown, store_errors.SignatureInvalid),
    *(errors.StoreSetBack, errors.StateUnusable, errors.QueueFull, errors.BodyTooLarge, PARAMETER_INVALID),
)


def alias_routes(decisions: Decisions) -> APIRouter:
    """For whoever decides."""
    router = APIRouter(prefix="/v1/models/{name}/aliases", tags=["aliases"])

    def answer(request: Request, promotion: Promotion, name: str) -> AliasAnswer:
        request.state.audit = {
            "model": name,
            "alias": promotion.alias,
            "version": promotion.version or "",
            "digest": str(promotion.digest),
        }
        record = RecordedPromotion.model_validate({**dict(promotion), "digest": str(promotion.digest)})
        return AliasAnswer(record=record, serving=decisions.versions.serves(promotion, name))

    @router.put("/{alias}", responses=responses(*_PROBLEMS, store_errors.PromotionRefused))
    async def promote(request: Request, name: Name, alias: Alias, body: AliasChange) -> AliasAnswer:
        """Makes an alias name a version.

        The version is verified, replays its reference images and is warmed up first; if it fails, nothing changes.
        Then the record is written, and requests that come from now on get it. Those under way keep theirs.
        """
        change = Change(name, alias, body.expected_current, by=str(request.state.key), why=body.reason)
        return answer(request, await decisions.promote(change, body.version), name)

    @router.post("/{alias}/rollback", responses=responses(*_PROBLEMS, store_errors.NothingToRollBack))
    async def rollback(request: Request, name: Name, alias: Alias, body: AliasUndone) -> AliasAnswer:
        """Undoes the newest promotion of an alias; once more, the one before it.

        The version before is still in memory, unless the service was started since, and answers at once.
        """
        change = Change(name, alias, body.expected_current, by=str(request.state.key), why=body.reason)
        return answer(request, await decisions.roll_back(change), name)

    @router.post("/{alias}/withdraw", responses=responses(*_PROBLEMS))
    async def withdraw(request: Request, name: Name, alias: Alias, body: AliasUndone) -> AliasAnswer:
        """Ends an alias, such as that of a candidate: it names nothing until it is promoted anew.

        The version stays published. `production` cannot be ended.
        """
        change = Change(name, alias, body.expected_current, by=str(request.state.key), why=body.reason)
        return answer(request, await decisions.withdraw(change), name)

    return router
