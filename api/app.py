"""The gateway's composition root. Only this module of `api` opens connections."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypedDict

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from api.errors import error_answer, masked_answer
from api.gateway import Gateway
from api.graphql.graphiql.page import SCRIPT, STYLE, GraphiQLFile
from api.graphql.request.answers.tokenless import TokenlessClient
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.request.persisted.store import ClientDocuments
from api.graphql.schema import SCHEMA
from api.graphql.subscriptions.websocket import WebSocketEndpoint
from api.http.addresses import Network
from api.http.cors import Cors
from api.http.endpoint import Direct
from api.http.guard import EdgeGuard
from api.http.probe_port import ProbePort
from api.http.request_metrics import RequestMetrics
from api.http.streaming.streams import Streams
from api.limits.limits import Limits, open_limits
from api.limits.middleware import RateLimiting
from api.oauth.authority import Authority, open_authority
from api.oauth.clients.registrar import OwnRegistrar
from api.oauth.endpoints import routes as oauth_routes
from api.oauth.people.endpoints import routes as people_routes
from api.oauth.people.people import People, open_people
from api.oauth.tokens.verifier import Verifier
from api.routes import batch, bulk, health, metrics, segments
from api.routes.openapi import document
from api.routes.probes import StoreProbes
from bus.rabbitmq.publisher import RabbitPublisher
from core import telemetry
from core.errors import PenchantError
from core.settings import Settings
from core.tasks import end
from db.cache import connect_redis
from db.postgres import Pool, connect_pool
from db.shares import share_out
from engine.catalogue.catalogue import Catalogue
from engine.clients.administering import ClientAdministration
from engine.clients.deprecated_uses import DeprecatedUses
from engine.forecasting.serving_forecast import ServingForecast
from engine.intake.ingest import EventIntake
from engine.maintenance.vitals import Vitals
from engine.placements.serving_placements import ServingPlacements
from engine.privacy.archive import Archive
from engine.reasons.texts import ReasonTexts
from engine.recommending.people import PeopleReader
from engine.recommending.serving_models import ServingModels
from engine.recommending.trends import Trends
from engine.rules.serving_rules import ServingRules
from engine.signing import Signer

log = structlog.get_logger()

COLLECTIONS = 700, 10, 50  # of the generations: requests leave next to nothing to them, and the last takes tens of ms
SWITCH_INTERVAL = 0.0002  # seconds that a thread may keep the event loop waiting; Python's own 5 ms add up in an answer
CLOSE_TIMEOUT = 5.0  # seconds to wait for running statements when the pool is closed


class LifespanState(TypedDict):
    """What every request finds in `scope["state"]`."""

    gateway: Gateway
    authority: Authority
    people: People
    verifier: Verifier
    probes: StoreProbes
    trusted_proxies: tuple[Network, ...]
    limits: Limits
    documents: ClientDocuments
    streams: Streams
    tokenless: TokenlessClient | None


def create_app(settings: Settings, catalogue: Catalogue | None = None) -> Starlette:
    """The gateway as an ASGI app. Its lifespan opens the stores and raises StoreUnavailable when Postgres is away.

    `catalogue` is one that `load_catalogue` read before the gateway forked: its processes share that memory. Without
    one, the lifespan reads the catalogue.
    """
    edge = settings.gateway
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=edge.graphiql, timeout=edge.request_timeout)
    routes = [
        Route("/graphql", endpoint),
        *bulk.routes(edge.max_body, edge.request_timeout),
        *batch.routes(edge.max_body),
        *segments.routes(edge.request_timeout),
        *oauth_routes(),
        *people_routes(),
        *health.ROUTES,
        *metrics.routes(settings.watching),
        document.route(),
    ]
    if edge.graphiql:
        routes += [Route(path, GraphiQLFile(path)) for path in (SCRIPT, STYLE)]
    app = Starlette(
        routes=[*routes, WebSocketRoute("/graphql", WebSocketEndpoint(endpoint))],
        middleware=[
            Middleware(RequestMetrics, paths=[route.path for route in routes]),
            Middleware(Cors),
            Middleware(EdgeGuard, max_body=edge.max_body, timeout=edge.request_timeout),
            *([Middleware(ProbePort, port=edge.probe_port)] if edge.probe_port else []),
            Middleware(RateLimiting),
            Middleware(Direct, path="/graphql", endpoint=endpoint),
        ],
        exception_handlers={HTTPException: _answer_http_error, Exception: _answer_unexpected},
        lifespan=partial(_lifespan, settings=settings, catalogue=catalogue),
    )
    app.router.redirect_slashes = False  # the redirect would go to the host that the caller names
    return app


async def load_catalogue(settings: Settings) -> Catalogue:
    """Read the whole catalogue, on a connection of its own. Raises StoreUnavailable when Postgres is away."""
    async with AsyncExitStack() as stack:
        catalogue = Catalogue(await _open_pool(settings, stack), settings.gateway.serving_poll)
        await catalogue.load()
    return catalogue


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, catalogue: Catalogue | None) -> AsyncIterator[LifespanState]:
    async with AsyncExitStack() as stack:
        telemetry.start("gateway")
        stack.push_async_callback(asyncio.to_thread, telemetry.stop)
        try:
            pool = await _open_pool(settings, stack)
            authority = await stack.enter_async_context(open_authority(settings, pool))
            people = stack.enter_context(open_people(settings, pool, authority))
            broker = _open_broker(settings, stack)
            gateway = await _open_gateway(settings, pool, broker, authority.verifier, catalogue, stack)
            limits = await stack.enter_async_context(
                open_limits(settings.rates, gateway.redis, pool, authority.verifier.changes)
            )
            documents = ClientDocuments(pool, gateway.redis)
            stack.push_async_callback(documents.close)
            await documents.load()
            tokenless = None
            if settings.gateway.tokenless_client is not None:
                tokenless = TokenlessClient(pool, authority.verifier.changes, settings.gateway.tokenless_client)
                stack.push_async_callback(tokenless.close)
        except PenchantError as error:
            log.error("gateway_not_started", reason=str(error))
            raise
        sys.setswitchinterval(SWITCH_INTERVAL)
        gc.collect()
        gc.freeze()  # the catalogue lives as long as the process: collections can skip it
        gc.set_threshold(*COLLECTIONS)
        log.info("gateway_ready", items=len(gateway.catalogue))
        probes = StoreProbes(pool, gateway.redis, broker, gateway.catalogue, gateway.vitals.full)
        stack.callback(probes.close)
        yield LifespanState(
            gateway=gateway,
            authority=authority,
            people=people,
            verifier=authority.verifier,
            probes=probes,
            trusted_proxies=settings.gateway.trusted_proxies,
            limits=limits,
            documents=documents,
            streams=Streams(),
            tokenless=tokenless,
        )
        log.info("gateway_stopping")


def _open_broker(settings: Settings, stack: AsyncExitStack) -> RabbitPublisher:
    broker = RabbitPublisher(settings.stores.broker_url.get_secret_value(), settings.ingest.confirm_timeout)
    stack.push_async_callback(broker.close)
    return broker


async def _open_gateway(
    settings: Settings,
    pool: Pool,
    broker: RabbitPublisher,
    verifier: Verifier,
    catalogue: Catalogue | None,
    stack: AsyncExitStack,
) -> Gateway:
    stores, edge = settings.stores, settings.gateway
    redis = connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout)
    stack.push_async_callback(redis.aclose)
    catalogue = await _open_catalogue(pool, edge.serving_poll, catalogue)
    shares = share_out(pool, stores.postgres_timeout)
    trends = Trends(shares.expensive, timedelta(days=settings.lists.popular_window), empty_age=edge.serving_poll)
    stack.push_async_callback(trends.close)
    models = ServingModels(pool, stores.bundles, catalogue, poll=edge.serving_poll, trends=trends, redis=redis)
    await models.load()
    forecast = ServingForecast(pool, stores.bundles, poll=edge.serving_poll)
    await forecast.load()
    signer = Signer(*edge.secrets)
    ingest = EventIntake(
        settings.ingest,
        shares.people,
        redis,
        broker,
        settings.lake.events_keep,
        catching_up=shares.bulk,
        signer=signer,
    )
    ingest.open()
    stack.push_async_callback(ingest.close)
    archive = Archive(settings.lake.lake_url)
    stack.callback(archive.close)
    vitals = Vitals(pool, redis)
    await vitals.check()
    deprecated_uses = DeprecatedUses(pool)
    texts = ReasonTexts.own() if edge.reason_texts is None else ReasonTexts.with_file(edge.reason_texts)
    placements = ServingPlacements(pool, texts, poll=edge.serving_poll)
    await placements.refresh()
    rules = ServingRules(pool, poll=edge.serving_poll)
    await rules.refresh()
    await stack.enter_async_context(
        _run_beside(catalogue.run, models.run, forecast.run, placements.run, rules.run, vitals.run, deprecated_uses.run)
    )
    gateway = Gateway(
        settings=settings,
        pool=pool,
        shares=shares,
        redis=redis,
        catalogue=catalogue,
        models=models,
        forecast=forecast,
        people=PeopleReader(
            shares.people,
            redis,
            catalogue,
            vitals.full,
            dislikes_hold=timedelta(days=settings.lists.dislikes_hold),
        ),
        vitals=vitals,
        ingest=ingest,
        signer=signer,
        broker=broker,
        verifier=verifier,
        clients=ClientAdministration(OwnRegistrar()),
        deprecated_uses=deprecated_uses,
        placements=placements,
        rules=rules,
        archive=archive,
    )
    stack.push_async_callback(gateway.job_feed.close)
    return gateway


async def _open_catalogue(pool: Pool, poll: float, loaded: Catalogue | None) -> Catalogue:
    if loaded is None:
        catalogue = Catalogue(pool, poll)
        await catalogue.load()
        return catalogue
    loaded.use_pool(pool)
    await loaded.refresh()
    return loaded


async def _open_pool(settings: Settings, stack: AsyncExitStack) -> Pool:
    stores = settings.stores
    pool = await connect_pool(
        stores.postgres_url.get_secret_value(), size=stores.postgres_pool, timeout=stores.postgres_timeout
    )
    stack.push_async_callback(_close_pool, pool)
    return pool


async def _close_pool(pool: Pool) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await pool.close()
    except TimeoutError:
        pool.terminate()


@asynccontextmanager
async def _run_beside(*loops: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run these coroutine functions as tasks while the block runs, and cancel them when it ends."""
    tasks = [asyncio.create_task(loop()) for loop in loops]
    try:
        yield
    finally:
        await end(tasks)


async def _answer_http_error(request: Request, error: Exception) -> JSONResponse:
    """The router's 404 or 405, with the same JSON body as every other refusal."""
    assert isinstance(error, HTTPException)
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "BAD_REQUEST")
    return JSONResponse(error_answer(code, error.detail), error.status_code, headers=error.headers)


async def _answer_unexpected(request: Request, error: Exception) -> JSONResponse:
    """500 for an error that nothing else handles; the server logs its traceback and closes the connection."""
    return JSONResponse(masked_answer(request.state.request_id), 500, headers={"connection": "close"})
