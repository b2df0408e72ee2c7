"""The HTTP endpoints of the authorization server. They read `Authority` from the request's state."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import orjson
import structlog
from authlib.oauth2.rfc6749.errors import OAuth2Error
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.http.addresses import caller_of
from api.limits.limits import check_client, meter_of_address, meter_of_client
from api.limits.meters import LimitReached, Meter
from api.oauth.authority import Authority
from api.oauth.clients.credentials import read_credentials
from api.oauth.clients.guesses import TooManyGuesses
from api.oauth.form import read_form
from api.oauth.metadata import metadata
from api.oauth.server import Endpoint
from core.errors import Overloaded, StoreUnavailable

log = structlog.get_logger()

TOKEN_UNITS: Final = 10  # of a client's limits; a token takes about as much computing as ten events
CACHE_BRIEFLY = {"Cache-Control": "public, max-age=300"}


def routes() -> list[Route]:
    """All routes. The lifespan of the app yields `{"authority": Authority}`."""
    return [
        Route("/oauth/token", partial(_answer, "token"), methods=["POST"]),
        Route("/oauth/revoke", partial(_answer, "revocation"), methods=["POST"]),
        Route("/oauth/introspect", partial(_answer, "introspection"), methods=["POST"]),
        Route("/.well-known/jwks.json", jwks),
        Route("/.well-known/oauth-authorization-server", metadata_document),
        Route("/.well-known/openid-configuration", metadata_document),
    ]


async def _answer(endpoint: Endpoint, request: Request) -> Response:
    """Answer a form: with tokens, or an error of RFC 6749, section 5.2."""
    authority: Authority = request.state.authority
    meter = meter_of_address(request.scope)
    form: dict[str, str] = {}
    try:
        form = await read_form(request)
        await _take(request, form, meter)
        answer = await authority.answer(endpoint, form, request.headers, caller_of(request.scope))
        if answer.status_code == 200 and "client_assertion" in form:
            await _take_afterwards(request, form)
    except OAuth2Error as error:
        answer = authority.server.refuse(error)
    except (LimitReached, TooManyGuesses) as error:  # not noted: invented client ids would leave no place for others
        return _refuse("slow_down", 429, error.retry_after, str(error))
    except Overloaded:
        return _refuse("temporarily_unavailable", 503, 1)
    except (StoreUnavailable, TimeoutError) as error:
        log.warning("oauth_not_answered", endpoint=endpoint, reason=type(error).__name__, error=str(error))
        return _refuse("temporarily_unavailable", 503, 1)
    if answer.status_code != 200:
        authority.note_refusal(form, request.headers, orjson.loads(answer.body)["error"])
    return answer


async def jwks(request: Request) -> Response:
    """The public keys that verify our tokens, as of two seconds ago at most, or as of when Postgres last answered."""
    authority: Authority = request.state.authority
    with suppress(StoreUnavailable):
        await authority.verifier.refresh()
    return _json(authority.keys.jwks(), 200, CACHE_BRIEFLY)


async def metadata_document(request: Request) -> Response:
    """The metadata document."""
    authority: Authority = request.state.authority
    return _json(metadata(authority.issuer), 200, CACHE_BRIEFLY)


async def _take(request: Request, form: Mapping[str, str], meter: Meter) -> None:
    """Take the units of a token request: from a client whose secret was right before, else from the address.

    So a guesser uses up no units of a client. A client that is familiar at the address is not refused for others there,
    nor is one whose key signed its assertion. That one pays once its assertion was right, see `_take_afterwards`.
    """
    authority: Authority = request.state.authority
    try:
        credentials = read_credentials(request.headers, form)
    except OAuth2Error:
        await meter.take(1)
        return
    client_id = credentials.client_id
    if authority.server.remembers(credentials):
        if credentials.assertion:
            await check_client(request.scope, client_id, TOKEN_UNITS)
        else:
            await (await meter_of_client(request.scope, client_id)).take(TOKEN_UNITS)
        return
    familiar = not credentials.assertion and authority.guesses.is_familiar(client_id, caller_of(request.scope))
    try:
        await meter.take(1)
    except LimitReached:
        if not familiar:
            raise


async def _take_afterwards(request: Request, form: Mapping[str, str]) -> None:
    """Take the units of a request from the client whose assertion was right. Its next one is refused if none are left.

    This one is answered in any case: the answer may hold the only refresh token that is valid.
    """
    client_id = read_credentials(request.headers, form).client_id
    with suppress(LimitReached):
        await (await meter_of_client(request.scope, client_id)).take(TOKEN_UNITS)


def _refuse(error: str, status: int, retry_after: int, description: str | None = None) -> Response:
    body = {"error": error} | ({"error_description": description} if description else {})
    return _json(body, status, {"Cache-Control": "no-store", "Retry-After": str(retry_after)})


def _json(body: object, status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
