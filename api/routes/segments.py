"""GET /segments/{id}/members: a line of JSON for each user of a segment, in pages of one snapshot."""

import asyncio
from datetime import datetime
from math import ceil
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
import structlog
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.errors import REFUSALS, RequestRefused, refusal_of
from api.http.endpoint import MethodRefused, send_answer
from api.limits.limits import meter_of
from api.routes.callers import admit_client, send_refusal
from core.errors import InvalidInput, NotFound, StoreUnavailable
from core.moments import read_moment
from core.stores import log_unavailable
from engine.segments.reading import MOST, MembersPage, read_members

log = structlog.get_logger()

SCOPE: Final = "segments:read"
PATH: Final = "/segments/{id}/members"
LINES_OF_UNIT: Final = 100  # that take one unit of the caller's limits
MAX_PARAMETERS: Final = 50  # of one query string
LONGEST_FIRST: Final = 5  # digits
_LINES: Final = b"application/x-ndjson; charset=utf-8"
_PARAMETERS: Final = frozenset({"first", "after", "changedSince"})


class MembersEndpoint:
    """An ASGI app: one page of members, then a line that says the snapshot and where to go on."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        try:
            await send_answer(send, 200, _LINES, _lines(await self._page(scope)), [])
        except InvalidInput as error:
            await send_refusal(send, RequestRefused("BAD_USER_INPUT", str(error)))
        except NotFound as error:
            await send_refusal(send, RequestRefused("NOT_FOUND", str(error), 404))
        except REFUSALS as error:
            await send_refusal(send, refusal_of(error))
        except (StoreUnavailable, TimeoutError) as error:
            if isinstance(error, StoreUnavailable):
                log_unavailable(error, doing="read the members of a segment")
                refusal = RequestRefused("SERVICE_UNAVAILABLE", "A store does not answer: send this again.", 503)
            else:
                refusal = RequestRefused("TIMEOUT", f"No answer within {self._timeout:g} seconds.", 504)
            await send_refusal(send, refusal)

    async def _page(self, scope: Scope) -> MembersPage:
        if scope["method"] != "GET":
            raise MethodRefused("GET", "Use GET.")
        viewer = await admit_client(scope, SCOPE)
        given = _parameters(scope["query_string"])
        first, gateway = _first(given), scope["state"]["gateway"]
        await meter_of(scope).take(max(1, ceil(first / LINES_OF_UNIT)))
        async with asyncio.timeout(self._timeout):
            return await read_members(
                gateway.shares.expensive.of(viewer.caller),
                gateway.signer,
                scope["path_params"]["id"],
                first=first,
                after=given.get("after"),
                changed_since=_moment(given),
            )


def _lines(page: MembersPage) -> bytes:
    """A line for each member, and the last line about the page."""
    segment = page.segment
    lines: list[dict[str, Any]] = [{"userId": member.user_id, "member": not member.gone} for member in page.members]
    end = {"segment": segment.id, "snapshot": page.snapshot, "asOf": segment.made_at, "next": page.next}
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in (*lines, end))


def _parameters(query_string: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query_string.decode("latin-1"), keep_blank_values=True, separator="&", max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise RequestRefused("BAD_REQUEST", f"A URL may have at most {MAX_PARAMETERS} parameters.") from None
    given = dict(pairs)
    if given.keys() - _PARAMETERS or len(given) < len(pairs):
        raise RequestRefused("BAD_REQUEST", f"The URL takes each of these once: {', '.join(sorted(_PARAMETERS))}.")
    return given


def _first(given: dict[str, str]) -> int:
    first = given.get("first", str(MOST))
    if not first.isascii() or not first.isdigit() or len(first) > LONGEST_FIRST or not 1 <= int(first) <= MOST:
        raise InvalidInput(f"first must be between 1 and {MOST}.", "first")
    return int(first)


def _moment(given: dict[str, str]) -> datetime | None:
    if "changedSince" not in given:
        return None
    try:
        return read_moment(given["changedSince"])
    except ValueError as error:
        raise InvalidInput(f"changedSince {error}.", "changedSince") from None


def routes(timeout: float) -> list[Route]:
    """The route; an answer may take `timeout` seconds."""
    return [Route(PATH, MembersEndpoint(timeout))]
