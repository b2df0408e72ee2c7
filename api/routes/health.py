"""/healthz: this process lives. /readyz: what it stands on, and whether it can answer at all."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.gateway import Gateway
from api.routes.probes import Vitals

log = structlog.get_logger()
_PATIENCE = 1.0  # seconds for one store


async def healthz(request: Request) -> JSONResponse:
    """200 as long as the event loop turns."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """200 when Postgres answers: without it nobody's token can be checked; the rest only makes answers poorer."""
    gateway: Gateway = request.state.gateway
    vitals: Vitals = request.state.vitals
    postgres, redis, broker = await asyncio.gather(
        _answers("postgres", gateway.pool.fetchval("SELECT 1")),
        _answers("redis", gateway.redis.ping()),
        vitals.broker_answers(),
    )
    bundle = gateway.models.current
    status = {
        "status": "ready" if postgres else "unavailable",
        "postgres": _word(postgres),
        "redis": _word(redis),
        "broker": _word(broker),
        "bundle": bundle.id if bundle else None,
        "bundleRefused": gateway.models.refused is not None,
    }
    return JSONResponse(status, 200 if postgres else 503, headers=None if postgres else {"retry-after": "1"})


async def _answers(store: str, asking: Awaitable[Any]) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE):
            await asking
    except Exception as error:  # any way of not answering is "down" here
        log.warning("store_not_ready", store=store, error=str(error))
        return False
    return True


def _word(answers: bool) -> str:
    return "ok" if answers else "down"


ROUTES = [Route("/healthz", healthz), Route("/readyz", readyz)]
