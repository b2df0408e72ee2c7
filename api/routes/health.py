"""/healthz: the process runs. /readyz: which stores answer, and whether the gateway can answer requests."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.gateway import Gateway
from api.routes.probes import StoreProbes


async def healthz(request: Request) -> JSONResponse:
    """200 as long as the event loop runs."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """200 when Postgres answers: without it no token can be checked. The other stores only degrade answers."""
    gateway: Gateway = request.state.gateway
    probes: StoreProbes = request.state.probes
    answering = await probes.answering()
    ready = answering["postgres"]
    bundle = gateway.models.current
    status = {
        "status": "ready" if ready else "unavailable",
        **{store: "ok" if answers else "down" for store, answers in answering.items()},
        "bundle": bundle.id if bundle else None,
        "bundleRefused": gateway.models.refused is not None,
    }
    return JSONResponse(status, 200 if ready else 503, headers=None if ready else {"retry-after": "1"})


ROUTES = [Route("/healthz", healthz), Route("/readyz", readyz)]
