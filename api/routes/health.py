"""/healthz: the process runs. /readyz: whether the gateway takes requests, and what is wrong with the stores."""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.gateway import Gateway
from api.http.server import DRAINING
from api.routes.probes import StoreProbes
from core.errors import StoreName

STORES: Final[tuple[StoreName, ...]] = ("postgres", "redis", "broker")


async def healthz(request: Request) -> JSONResponse:
    """200 as long as the event loop runs."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """200 while the gateway answers requests, whatever is wrong: the body says what. 503 once it stops."""
    gateway: Gateway = request.state.gateway
    probes: StoreProbes = request.state.probes
    problems = await probes.problems()
    ready = not request.scope["state"].get(DRAINING)
    bundle = gateway.models.current
    status: dict[str, object] = {
        "status": "ready" if ready else "stopping",
        **{store: problems[store][0] if store in problems else "ok" for store in STORES},
        "bundle": bundle.id if bundle else None,
        "bundleRefused": gateway.models.refused is not None,
        "problems": [problems[store][1] for store in STORES if store in problems],
    }
    return JSONResponse(status, 200 if ready else 503, headers=None if ready else {"retry-after": "1"})


ROUTES = [Route("/healthz", healthz), Route("/readyz", readyz)]
