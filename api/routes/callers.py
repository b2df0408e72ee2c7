"""Who may call a route: a caller with a scope, or a client with its own token; and the answer to one that may not."""

from typing import Final

import orjson
from starlette.types import Scope, Send

from api.errors import RequestRefused, refusal_answer
from api.http.endpoint import TokenRefused, refusal_headers, send_answer
from api.limits.limits import admit
from engine.viewer import Viewer

_JSON: Final = b"application/json; charset=utf-8"


def require_scope(viewer: Viewer, scope: str) -> None:
    """Raise TokenRefused when the token lacks this scope."""
    if scope not in viewer.scopes:
        detail = f', error="insufficient_scope", scope="{scope}"'.encode()
        raise TokenRefused(detail, f"The token needs the scope {scope}.", code="FORBIDDEN", status=403)


async def admit_client(request: Scope, scope: str) -> Viewer:
    """The client of a request. Raises RequestRefused for a token of a person, and as `admit` and `require_scope` do."""
    viewer = await admit(request)
    require_scope(viewer, scope)
    if viewer.person is not None:
        raise RequestRefused("FORBIDDEN", "This needs a client's own token.", 403)
    return viewer


async def send_refusal(send: Send, refusal: RequestRefused) -> None:
    """Answer a request that is refused."""
    await send_answer(send, refusal.status, _JSON, orjson.dumps(refusal_answer(refusal)), refusal_headers(refusal))
