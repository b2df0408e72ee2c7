"""The gateway's composition root: the only place of this folder that opens connections."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypedDict

import structlog
from asyncpg import Pool
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.errors import MASKED
from api.graphql.context import Gateway
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.schema import SCHEMA
from api.http import bulk, health
from api.http import metrics as scrape
from api.http.cors import Cors
from api.http.guard import EdgeGuard
from api.http.observation import Observed
from api.http.probes import Vitals
from api.oauth.authority import Authority, open_authority
from api.oauth.endpoints import routes as oauth_routes
from api.oauth.tokens.verifier import Verifier
from bus.rabbitmq.publisher import RabbitPublisher
from core import telemetry
from core.errors import PenchantError
from core.settings import Settings
from core.tasks import end
from db.cache import connect_redis
from db.postgres import connect_pool
from engine.catalogue.catalogue import Catalogue
from engine.intake.ingest import Ingest
from engine.recommending.people import People
from engine.recommending.serving_models import ServingModels
from engine.signing import Signer

log = structlog.get_logger()

PATIENCE = 5.0  # seconds for the pool's connections to come home when the process stops


class State(TypedDict):
    """What the lifespan gives every request, under `scope["state"]`."""

    gateway: Gateway
    authority: Authority
    verifier: Verifier
    vitals: Vitals


def create_app(settings: Settings, catalogue: Catalogue | None = None) -> Starlette:
    """The gateway as an ASGI app; its lifespan opens the stores and raises StoreUnavailable when Postgres is away.

    It goes on with the `catalogue` that `load_catalogue` read, which the processes of one gateway share that way.
    """
    edge = settings.gateway
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=edge.graphiql, timeout=edge.request_timeout)
    routes = [
        Route("/graphql", endpoint),
        *bulk.routes(edge.max_body, edge.request_timeout),
        *oauth_routes(),
        *health.ROUTES,
        *scrape.routes(settings.watching),
    ]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Observed, paths=[route.path for route in routes]),
            Middleware(Cors),
            Middleware(EdgeGuard, max_body=edge.max_body, timeout=edge.request_timeout),
        ],
        exception_handlers={HTTPException: _not_served, Exception: _failed},
        lifespan=partial(_lifespan, settings=settings, catalogue=catalogue),
    )
    app.router.redirect_slashes = False  # a redirect would name whatever host the request named
    return app


async def load_catalogue(settings: Settings) -> Catalogue:
    """Read the whole catalogue, on a connection of its own. Raises StoreUnavailable when Postgres is away."""
    async with AsyncExitStack() as stack:
        catalogue = Catalogue(await _open_pool(settings, stack), settings.gateway.serving_poll)
        await catalogue.load()
    return catalogue


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, catalogue: Catalogue | None) -> AsyncIterator[State]:
    async with AsyncExitStack() as stack:
        telemetry.start("gateway")
        stack.push_async_callback(asyncio.to_thread, telemetry.stop)
        try:
            pool = await _open_pool(settings, stack)
            authority = await stack.enter_async_context(open_authority(settings, pool))
            broker = _open_broker(settings, stack)
            gateway = await _open_gateway(settings, pool, broker, authority.verifier, catalogue, stack)
        except PenchantError as error:
            log.error("gateway_not_started", reason=str(error))
            raise
        gc.collect()
        gc.freeze()  # the catalogue lives as long as the process: collections need not walk it
        log.info("gateway_ready", items=len(gateway.catalogue))
        vitals = Vitals(pool, gateway.redis, broker, gateway.catalogue)
        stack.callback(vitals.close)
        yield State(gateway=gateway, authority=authority, verifier=authority.verifier, vitals=vitals)
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
    models = ServingModels(
        pool,
        stores.bundles,
        catalogue,
        poll=edge.serving_poll,
        popular_window=edge.popular_window,
        redis=redis,
    )
    await models.load()
    ingest = Ingest(settings.ingest, pool, redis, broker)
    ingest.open()
    stack.push_async_callback(ingest.close)
    await stack.enter_async_context(_running(catalogue.run, models.run))
    return Gateway(
        settings=settings,
        pool=pool,
        redis=redis,
        catalogue=catalogue,
        models=models,
        people=People(pool, redis, catalogue),
        ingest=ingest,
        signer=Signer(edge.secret.get_secret_value()),
        broker=broker,
        verifier=verifier,
    )


async def _open_catalogue(pool: Pool, poll: float, loaded: Catalogue | None) -> Catalogue:
    if loaded is None:
        catalogue = Catalogue(pool, poll)
        await catalogue.load()
        return catalogue
    loaded.read_from(pool)
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
        async with asyncio.timeout(PATIENCE):
            await pool.close()
    except TimeoutError:
        pool.terminate()


@asynccontextmanager
async def _running(*followers: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run these coroutine functions beside the block, and stop them with it."""
    tasks = [asyncio.create_task(follower()) for follower in followers]
    try:
        yield
    finally:
        await end(tasks)


async def _not_served(request: Request, error: Exception) -> JSONResponse:
    """404 and 405 of the router, in the shape of every other answer."""
    assert isinstance(error, HTTPException)
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "BAD_REQUEST")
    body = {"errors": [{"message": error.detail, "extensions": {"code": code}}]}
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _failed(request: Request, error: Exception) -> JSONResponse:
    """A bug outside GraphQL's own error handling; the server logs its traceback."""
    extensions = {"code": "INTERNAL_SERVER_ERROR", "requestId": request.state.request_id}
    return JSONResponse({"errors": [{"message": MASKED, "extensions": extensions}]}, 500)
