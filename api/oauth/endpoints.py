"""The HTTP endpoints of the authorization server. They read `Authority` from the request's state."""

import orjson
import structlog
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.oauth.authority import Authority
from api.oauth.form import read_form
from api.oauth.metadata import metadata
from core.errors import Overloaded, StoreUnavailable

log = structlog.get_logger()

CACHE_BRIEFLY = {"Cache-Control": "public, max-age=300"}


def routes() -> list[Route]:
    """All routes. The lifespan of the app yields `{"authority": Authority}`."""
    return [
        Route("/oauth/token", token, methods=["POST"]),
        Route("/.well-known/jwks.json", jwks),
        Route("/.well-known/oauth-authorization-server", metadata_document),
        Route("/.well-known/openid-configuration", metadata_document),
    ]


async def token(request: Request) -> Response:
    """Issue an access token, or answer with an error of RFC 6749, section 5.2."""
    authority: Authority = request.state.authority
    try:
        return await authority.answer(await read_form(request), request.headers)
    except InvalidRequestError as error:
        return authority.server.refuse(error)
    except (StoreUnavailable, Overloaded, TimeoutError) as error:
        log.warning("token_not_issued", reason=type(error).__name__, error=str(error))
        return _json({"error": "temporarily_unavailable"}, 503, {"Cache-Control": "no-store", "Retry-After": "1"})


async def jwks(request: Request) -> Response:
    """The public keys that verify our tokens."""
    authority: Authority = request.state.authority
    return _json(authority.keys.jwks(), 200, CACHE_BRIEFLY)


async def metadata_document(request: Request) -> Response:
    """The metadata document."""
    authority: Authority = request.state.authority
    return _json(metadata(authority.issuer), 200, CACHE_BRIEFLY)


def _json(body: object, status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
