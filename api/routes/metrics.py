"""/metrics: metrics for Prometheus, for callers with the metrics token, else for callers on this machine."""

import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.errors import error_answer
from api.http.endpoint import bearer_token
from api.routes.probes import StoreProbes
from core import metrics
from core.errors import InvalidToken
from core.settings import Watching

_FORWARDED = re.compile(  # headers by which proxies and networks before them name the caller or themselves
    "forwarded|forwarded-for|via|client-ip|cdn-loop|x-forwarded.*|x-original-forwarded-for|x-real-ip|x-remote-(ip|addr)"
    "|x-(cluster-)?client-ip|x-originating-ip|x-envoy-external-address|x-appengine-user-ip|x-azure-(clientip|socketip)"
    "|x-nf-client-connection-ip|true-client-ip|cf-(connecting-ip|connecting-ipv6|ray|visitor)"
    "|(ali-cdn|do|fastly|fly|incap)-(client-ip|real-ip|connecting-ip)"
)


def routes(watching: Watching) -> list[Route]:
    """The route of /metrics; `watching` holds the token, if there is one."""
    return [Route("/metrics", _metrics_endpoint(watching), methods=["GET"])]


def _metrics_endpoint(watching: Watching) -> Callable[[Request], Awaitable[Response]]:
    async def read_metrics(request: Request) -> Response:
        """Metrics hold no personal data but show how a shop is doing, so by default they stay on the machine."""
        if not _may_read(request, watching):
            return _refuse(watching)
        probes: StoreProbes = request.state.probes
        return Response(await probes.exposition(), media_type=metrics.CONTENT_TYPE)

    return read_metrics


def _may_read(request: Request, watching: Watching) -> bool:
    if watching.metrics_token is None:
        return _is_local(request)
    try:
        token = bearer_token(request.scope["headers"]) or ""
    except InvalidToken:
        return False
    return hmac.compare_digest(token.encode(), watching.metrics_token.get_secret_value().encode())


def _is_local(request: Request) -> bool:
    """Whether the caller is a program on this machine. A request that names a proxy on its way is not."""
    if request.client is None or any(map(_FORWARDED.fullmatch, request.headers)):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _refuse(watching: Watching) -> Response:
    if watching.metrics_token is None:
        message = "Without PENCHANT_METRICS_TOKEN, /metrics answers only direct callers on this machine."
        return JSONResponse(error_answer("FORBIDDEN", message), 403)
    body = error_answer("UNAUTHENTICATED", "Send the metrics token: Authorization: Bearer ...")
    return JSONResponse(body, 401, headers={"www-authenticate": 'Bearer realm="penchant-metrics"'})
