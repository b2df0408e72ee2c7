"""/metrics: the numbers for Prometheus, for whoever has the token or stands on this machine."""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.http.endpoint import bearer_token
from api.routes.probes import Vitals
from core import metrics
from core.errors import InvalidToken
from core.settings import Watching

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


def routes(watching: Watching) -> list[Route]:
    """The route of /metrics, kept as `watching` says."""
    return [Route("/metrics", _answering(watching), methods=["GET"])]


def _answering(watching: Watching) -> Callable[[Request], Awaitable[Response]]:
    async def read_metrics(request: Request) -> Response:
        """They hold no personal data, but tell how a shop is doing: by default they do not leave the machine."""
        if not _may_read(request, watching):
            return _refused(watching)
        vitals: Vitals = request.state.vitals
        return Response(metrics.exposition(await vitals.metrics()), media_type=metrics.CONTENT_TYPE)

    return read_metrics


def _may_read(request: Request, watching: Watching) -> bool:
    if watching.metrics_token is None:
        return _is_near(request)
    try:
        given = bearer_token(request.scope["headers"]) or ""
    except InvalidToken:
        return False
    return hmac.compare_digest(given.encode(), watching.metrics_token.get_secret_value().encode())


def _is_near(request: Request) -> bool:
    """Whether a program of this machine asks for itself: what a proxy passes on comes from elsewhere."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _refused(watching: Watching) -> Response:
    if watching.metrics_token is None:
        message = "Without PENCHANT_METRICS_TOKEN, only direct callers on this machine are answered."
        return JSONResponse({"errors": [{"message": message, "extensions": {"code": "FORBIDDEN"}}]}, 403)
    body = {"errors": [{"message": "Send the metrics token.", "extensions": {"code": "UNAUTHENTICATED"}}]}
    return JSONResponse(body, 401, headers={"www-authenticate": 'Bearer realm="penchant-metrics"'})
