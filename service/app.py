"""The composition root: what the service is made of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from model_store.loading import LoadedVersion, load
from model_store.store import PRODUCTION, ModelStore
from model_store.version import Version
from service.api import access, problems
from service.api.admin import admin_routes
from service.api.aliases import alias_routes
from service.api.auditor import Auditor
from service.api.corrections import CorrectionBody, correction_routes
from service.api.description import add_schemas
from service.api.health import health_routes, service_version
from service.api.inference_protocol.routes import protocol_routes
from service.api.inference_protocol.schemas import InferenceAnswer, InferenceRequest
from service.api.intake import Intake
from service.api.jobs import job_routes
from service.api.models import model_routes
from service.api.observer import Observer
from service.api.pacs import pacs_routes
from service.api.page import add_page
from service.api.rates import Rates
from service.api.segment import segment_routes
from service.api.shadow import shadow_routes
from service.api.stream import LiveService, stream_routes
from service.audit.act import Act
from service.audit.trail import Trail, open_trail
from service.corrections import Corrections
from service.decisions import Decisions
from service.dicom.analyser import Analyser
from service.dicom.source import Limits
from service.history import History
from service.holders import Holders
from service.keys import KeyRing
from service.live.streams import Streams
from service.loads import Load, Loader
from service.metrics import Metrics
from service.segmentation import Segmenter
from service.selftest import SelfTest
from service.settings import Settings
from service.shadow import Shadow
from service.shelf import Shelf
from service.versions import CANDIDATE, Followed, Versions
from service.workers import WorkerPool, available_cores

if TYPE_CHECKING:
    from service.pacs.answering import Analyse
    from service.pacs.connection import Connection

DESCRIPTION = """\
Upload a breast ultrasound image, and the tumour mask comes back, with the area of each class:
0 background, 1 benign, 2 malignant.

For research, beside an expert. Not a medical device.
"""


def create_app(settings: Settings, *, load_version: Load | None = None, analyse: "Analyse | None" = None) -> FastAPI:
    """The application. It loads the default version while it already answers: `/readyz` says when it is there.

    Args:
        settings: All that can be configured.
        load_version: Verifies a version and makes it ready for as many workers as there are; the store's own if none.
        analyse: Answers the images of a PACS; with the versions of the store if none.

    Raises:
        KeyUnusable: The folder of trusted keys holds none, or something else.
        SettingsInvalid: The certificates for the PACS, or of the issuer of tokens, cannot be used.
        JobsUnusable: The database of the jobs cannot be opened.
    """
    workers = settings.workers or available_cores()
    metrics = Metrics(service_version())
    trail = open_trail(settings.audit, settings.audit_key_file, metrics.audit_failures.inc)
    history = History(ModelStore(settings.store), settings.promotions_folder)
    load_warm = load_version or _loader(settings, workers + bool(settings.shadow_share))
    loader = Loader(_recorded(load_warm, trail), metrics)
    shelf = Shelf(metrics, loader.cost_bytes, settings.loaded_mb and settings.loaded_mb * 1_000_000)
    followed = Followed(settings.model, (PRODUCTION, CANDIDATE) if settings.shadow_share else (PRODUCTION,))
    versions = Versions(history, loader, shelf, metrics, followed)
    pool = WorkerPool("worker", workers=workers, capacity=settings.queue_capacity)
    metrics.watch(pool)
    segmenter = Segmenter(versions, pool, metrics, max_pixels=settings.max_pixels, deadline_s=settings.deadline_s)
    intake = Intake(segmenter, settings)
    connection = _connection(settings, metrics, trail)
    analyser = Analyser(segmenter, Limits(settings.max_pixels, settings.max_frames, settings.max_dicom_bytes))
    corrections = Corrections(settings.corrections)
    selftest = SelfTest(versions, pool, metrics, settings.selftest_s)
    shadow = Shadow(versions, pool, metrics, share=settings.shadow_share)

    holders = _holders(settings)
    live = LiveService(segmenter, Streams(pool, metrics, limit=settings.stream.limit), holders, metrics, settings)

    async def follow(app: FastAPI) -> None:
        await asyncio.shield(app.state.loading)
        await asyncio.gather(versions.watch(settings.follow_s), selftest.watch())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await trail.recorded(Act("service_started", details={"service": service_version()}))
        app.state.loading = asyncio.create_task(versions.start())
        watching = asyncio.create_task(follow(app))
        if connection:
            connection.start(analyse or _analysis(analyser, versions, settings))
        yield
        app.state.stopping = True
        watching.cancel()
        if connection:
            await asyncio.to_thread(connection.stop)
        await app.state.loading
        pool.close()
        analyser.close()
        shadow.close()
        versions.close()
        await trail.recorded(Act("service_stopped"))
        trail.close()

    app: FastAPI = FastAPIOffline(
        title="EFSNet breast ultrasound segmentation",
        description=DESCRIPTION,
        version=service_version(),
        license_info={"name": "Apache-2.0"},
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.stopping, app.state.versions, app.state.told = False, versions, settings.told
    app.state.trail = trail
    _add_layers(app, settings, live, metrics, trail)
    for router in (
        segment_routes(intake, analyser, shadow),
        stream_routes(live),
        model_routes(versions, settings.read_trust),
        alias_routes(Decisions(history, versions)),
        shadow_routes(shadow, versions),
        admin_routes(selftest),
        job_routes(connection),
        pacs_routes(connection),
        correction_routes(corrections, versions, settings),
        health_routes(segmenter, metrics, corrections, trail),
        protocol_routes(intake, shadow, trail),
        problems.problem_routes(),
    ):
        app.include_router(router)
    _describe(app)
    add_page(app)
    return app


def _describe(app: FastAPI) -> None:
    """Adds what the routes have in common: how errors are answered, and what FastAPI does not find out by itself."""
    problems.install(app)
    add_schemas(app, CorrectionBody, InferenceRequest, InferenceAnswer)
    access.describe(app)


def _holders(settings: Settings) -> Holders:
    """Who may; where an issuer is named, everybody needs a token or a key."""
    issuer = settings.oidc.issuer is not None
    keys = KeyRing(settings.keys_file, asked_for=issuer)
    if not issuer:
        return Holders(keys)
    from service.tokens import Tokens  # noqa: PLC0415 (a service without an issuer never loads it)

    return Holders(keys, Tokens(settings.oidc))


def _add_layers(app: FastAPI, settings: Settings, live: LiveService, metrics: Metrics, trail: Trail) -> None:
    """What a request passes on its way in, the innermost first."""
    app.add_middleware(
        access.Guard,
        holders=live.holders,
        rates=Rates(wrong=settings.wrong_keys_per_minute, requests=settings.requests_per_minute),
        tickets=live.tickets,
        origins=settings.stream.origins.split(","),
    )
    app.add_middleware(Auditor, trail=trail)
    app.add_middleware(Observer, metrics=metrics, root_path=settings.root_path)


def _recorded(load_version: Load, trail: Trail) -> Load:
    """The same, with a line for each version that is taken into service or refused."""

    def load_recorded(version: Version) -> LoadedVersion:
        names: dict[str, str | int] = {"model": version.name, "version": version.number, "digest": str(version.digest)}
        try:
            loaded = load_version(version)
        except Exception as error:
            trail.record(Act("version_loaded", "failed", details={**names, "problem": type(error).__name__}))
            raise
        signer = loaded.signature.signer if loaded.signature else ""
        trail.record(Act("version_loaded", details={**names, "signer": signer or ""}))
        return loaded

    return load_recorded


def _connection(settings: Settings, metrics: Metrics, trail: Trail) -> "Connection | None":
    if not settings.pacs.url:
        return None
    from service.pacs.connection import Connection  # noqa: PLC0415 (a service without a PACS never loads it)

    return Connection(settings, metrics, trail)


def _analysis(analyser: Analyser, versions: Versions, settings: Settings) -> "Analyse":
    from service.pacs.analysis import StoreAnalysis  # noqa: PLC0415 (as above)

    return StoreAnalysis(analyser, versions, settings.pacs.roles, asyncio.get_running_loop())


def _loader(settings: Settings, workers: int) -> Load:
    settings.read_trust()  # a folder of keys that cannot be is told now, and not at the first load

    def load_warm(version: Version) -> LoadedVersion:
        # Read each time: a key that was taken out is trusted no more.
        loaded = load(version, settings.computation, workers=workers, trust=settings.read_trust())
        # The replay has warmed the first: the first prediction of each other takes longer than those after it.
        size = version.manifest.specification.input
        for predictor in {*loaded.predictors} - {loaded.predictor}:
            predictor.run(np.zeros((1, size.rows, size.columns), np.uint8))
        return loaded

    return load_warm
