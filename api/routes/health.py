"""/healthz: the process runs. /readyz: which stores answer, and whether the gateway can answer requests."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.gateway import Gateway
from api.routes.probes import StoreProbes

log = structlog.get_logger()

STORE_TIMEOUT = 1.0  # seconds a store has to answer


async def healthz(request: Request) -> JSONResponse:
    """200 as long as the event loop runs."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """200 when Postgres answers: without it no token can be checked. The other stores only degrade answers."""
    gateway: Gateway = request.state.gateway
    probes: StoreProbes = request.state.probes
    postgres, redis, broker = await asyncio.gather(
        _answers("postgres", gateway.pool.fetchval("SELECT 1")),
        _answers("redis", gateway.redis.ping()),
        probes.broker_answers(),
    )
    bundle = gateway.models.current
    status = {
        "status": "ready" if postgres else "unavailable",
        "postgres": _status(postgres),
        "redis": _status(redis),
        "broker": _status(broker),
        "bundle": bundle.id if bundle else None,
        "bundleRefused": gateway.models.refused is not None,
    }
    return JSONResponse(status, 200 if postgres else 503, headers=None if postgres else {"retry-after": "1"})


async def _answers(store: str, question: Awaitable[Any]) -> bool:
    try:
        async with asyncio.timeout(STORE_TIMEOUT):
            await question
    except Exception as error:  # whatever the error, this store counts as down
        log.warning("store_not_ready", store=store, error=str(error))
        return False
    return True


def _status(answers: bool) -> str:
    return "ok" if answers else "down"


ROUTES = [Route("/healthz", healthz), Route("/readyz", readyz)]
