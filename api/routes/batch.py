"""POST /recommendations/batch: ids of users in, a line of JSON with each one's list out, as they are made."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from math import ceil
from time import perf_counter
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
import structlog
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.errors import REFUSALS, RequestRefused, refusal_of
from api.graphql.filter_text import read_filter_text
from api.http.disconnects import Disconnected, while_connected
from api.http.endpoint import (
    Header,
    MethodRefused,
    read_headers,
    receive_body,
)
from api.http.json_body import count_containers
from api.limits.limits import meter_of
from api.routes.callers import admit_client, send_refusal
from api.routes.elements import JSON, unpack
from core.bulkhead import Bulkhead, CallerBulkheads
from core.errors import InvalidInput, Overloaded, RateLimited
from core.turns import OneAtATime
from engine.many_lists.batch import BatchRecommender, BatchRequest, RefusedUser, UserList
from engine.viewer import Viewer

log = structlog.get_logger()

SCOPE: Final = "recommendations:read"
MAX_IDS: Final = 10_000
MAX_PARAMETERS: Final = 50  # of one query string
ITEMS_OF_UNIT: Final = 2  # of a list: so many take one unit of the caller's limits
AT_ONCE: Final = 2  # batches of a process; one of a caller
SEND_TIMEOUT: Final = 30.0  # seconds that a caller may take to read on
TIMEOUT: Final = 600.0  # seconds of one answer
LONGEST_PAUSE: Final = 0.05  # seconds after a list
_LINES: Final = b"application/x-ndjson; charset=utf-8"
_PARAMETERS: Final = frozenset({"placement", "first", "market", "filter", "list"})


class BatchEndpoint:
    """An ASGI app: reads up to 10,000 ids, then makes and sends one list after the other.

    Only few batches run at a time, and each pauses after a list for as long as the list took. A caller who
    leaves, or does not read on, ends the work.
    """

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._places = Bulkhead(AT_ONCE, waiting=8, patience=2.0, refuse=_busy)
        self._callers = CallerBulkheads(partial(Bulkhead, 1, waiting=1, patience=2.0, refuse=RateLimited))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        try:
            viewer, ids, request = await self._read(scope, receive)
            async with self._callers.of(viewer.caller).place(), self._places.place():
                await _answer(scope, receive, send, viewer, ids, request)
        except Disconnected:
            return
        except TimeoutError:  # the answer has begun: without its end, the caller knows that it is incomplete
            log.warning("batch_not_finished")
        except InvalidInput as error:
            await send_refusal(send, RequestRefused("BAD_USER_INPUT", str(error)))
        except REFUSALS as error:
            await send_refusal(send, refusal_of(error))

    async def _read(self, scope: Scope, receive: Receive) -> tuple[Viewer, list[str], BatchRequest]:
        if scope["method"] != "POST":
            raise MethodRefused("POST", "Use POST.")
        viewer = await admit_client(scope, SCOPE)
        request = _request(scope["query_string"])
        kind, body = unpack(read_headers(scope), await receive_body(receive), self._max_body)
        ids = _read_ids(kind, body)
        await meter_of(scope).take(max(1, ceil(len(ids) * request.wanted.first / ITEMS_OF_UNIT)))
        return viewer, ids, request


async def _answer(
    scope: Scope, receive: Receive, send: Send, viewer: Viewer, ids: Sequence[str], request: BatchRequest
) -> None:
    gateway = scope["state"]["gateway"]
    reads = gateway.shares.expensive.of(viewer.caller)
    turns = OneAtATime(gateway.turns, viewer.caller)
    batch = BatchRecommender(
        gateway.catalogue,
        gateway.models,
        gateway.signer,
        gateway.people,
        reads,
        turns,
        gateway.placements,
        gateway.rules,
    )
    lists = batch.lists(_in_one_group(ids), request)
    async with asyncio.timeout(TIMEOUT):
        with while_connected(receive):
            began = perf_counter()
            made = await anext(lists, None)  # what is wrong with the request is found here, before the answer begins
            headers: list[Header] = [(b"content-type", _LINES), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while made is not None:
                await _send_line(send, made)
                await asyncio.sleep(min(perf_counter() - began, LONGEST_PAUSE))  # half of the time is for others
                began = perf_counter()
                made = await anext(lists, None)
            await send({"type": "http.response.body", "body": b""})


async def _send_line(send: Send, made: UserList | RefusedUser) -> None:
    async with asyncio.timeout(SEND_TIMEOUT):
        body = orjson.dumps(made.as_json(), option=orjson.OPT_APPEND_NEWLINE)
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def _in_one_group(ids: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    yield ids


def _request(query_string: bytes) -> BatchRequest:
    """The list that `?placement=&first=&market=&filter=&list=` asks for. Raises InvalidInput, RequestRefused."""
    try:
        pairs = parse_qsl(
            query_string.decode("latin-1"), keep_blank_values=True, separator="&", max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise RequestRefused("BAD_REQUEST", f"A URL may have at most {MAX_PARAMETERS} parameters.") from None
    given = dict(pairs)
    unknown = sorted(given.keys() - _PARAMETERS)
    if unknown or len(given) < len(pairs):
        raise RequestRefused("BAD_REQUEST", f"The URL takes each of these once: {', '.join(sorted(_PARAMETERS))}.")
    first = given.get("first")
    if first is not None and (not first.isascii() or not first.isdigit() or len(first) > 3):
        raise InvalidInput("first must be between 1 and 100.", "first")
    filter = given.get("filter")
    return BatchRequest.of(
        given.get("placement", "home"),
        None if first is None else int(first),
        given.get("market"),
        None if filter is None else read_filter_text(filter),
        given.get("list"),
    )


def _read_ids(kind: str, body: bytes) -> list[str]:
    """The ids of a body: a JSON array of texts, or a JSON text per line. Raises RequestRefused."""
    count_containers(body, "The body")
    if kind == JSON:
        ids = _loaded(body)
        if not isinstance(ids, list):
            raise RequestRefused("BAD_REQUEST", "The body must be an array of user ids, as JSON.")
    else:
        lines = [line for line in body.split(b"\n") if line.strip()]
        _check_count(len(lines))
        ids = [_loaded(line) for line in lines]
    _check_count(len(ids))
    number = next((at for at, id in enumerate(ids, 1) if not isinstance(id, str)), None)
    if number is not None:
        raise RequestRefused("BAD_REQUEST", f'Id {number} is not a JSON text, as "anna".')
    return ids


def _loaded(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _check_count(count: int) -> None:
    if count > MAX_IDS:
        raise RequestRefused("PAYLOAD_TOO_LARGE", f"A batch may have at most {MAX_IDS:,} ids.", 413)


def _busy() -> Overloaded:
    return Overloaded("Too many batches are running: send this again.")


def routes(max_body: int) -> list[Route]:
    """The route; a body may have `max_body` bytes."""
    return [Route("/recommendations/batch", BatchEndpoint(max_body))]
