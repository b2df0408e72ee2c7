"""Reads JSON from callers within bounds: so many values, so deep. Checked before anything looks at the values."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

from api.errors import RequestRefused
from core.bulkhead import Bulkhead, CallerBulkheads
from core.errors import Overloaded, RateLimited
from core.turns import Turns

MAX_NODES: Final = 50_000  # objects, arrays, strings, numbers, booleans and nulls of a body
MAX_LEVELS: Final = 32  # objects and arrays inside each other
MANY_CONTAINERS: Final = 6_000  # more objects and arrays make a body heavy; 500 items with two offers have 3,500
_CONTAINERS = (dict, list)
_NO_MARKS: Final = bytes(set(range(256)) - set(b'[{,"'))


class Json(NamedTuple):
    """A JSON value within the bounds, and how many values it consists of, itself included, or a few more."""

    value: Any
    nodes: int


def parse_json(text: bytes | str, name: str) -> Json:
    """The JSON in `text`; `name` is what the errors call it, such as "The body".

    Raises RequestRefused: 400 when it is not JSON or nested more than 32 levels deep, 413 for more than 50,000 values.
    A text that may be longer than a URL is checked before, by `count_containers`.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg:  # orjson's own, 1,024 levels
            raise _too_deep(name) from None
        raise RequestRefused("BAD_REQUEST", f"{name} is not JSON.") from None
    if text.__class__ is bytes and (most := _most_nodes(text)) <= MAX_LEVELS:
        return Json(value, most)
    return Json(value, count_nodes(value, name))


class HeavyBodies:
    """The places of heavy bodies in a process: a garbage collection looks at every value of those that are read.

    Each caller has one of them at a time, so that no caller can take them all.
    """

    def __init__(self) -> None:
        self._places = Bulkhead(2, waiting=32, patience=2.0, refuse=_too_many_at_once)
        self._callers = CallerBulkheads(partial(Bulkhead, 1, waiting=8, patience=2.0, refuse=RateLimited))

    @asynccontextmanager
    async def place(self, body: bytes, caller: Hashable, turns: Turns) -> AsyncIterator[None]:
        """A place for reading and answering this body, and the turn to read it: at once, unless it is long.

        Raises RequestRefused (413) for too many values, Overloaded and RateLimited.
        """
        if not may_be_heavy(body):
            yield
            return
        await turns.take(caller)
        if count_containers(body, "The body") <= MANY_CONTAINERS:
            yield
            return
        async with self._callers.of(caller).place(), self._places.place():
            await turns.take(caller)
            yield


def may_be_heavy(body: bytes) -> bool:
    """Whether a body is long enough to be a heavy one."""
    return len(body) > MANY_CONTAINERS


def count_containers(text: bytes, name: str) -> int:
    """How many objects and arrays are in a JSON text, before they are made: a megabyte of them takes 80 ms.

    Raises RequestRefused (413) for more values than are allowed, as far as brackets and commas show.
    """
    if text.count(b"[") + text.count(b"{") > MANY_CONTAINERS or text.count(b",") > MAX_NODES:
        text = _marks_outside_strings(text)
    containers = text.count(b"[") + text.count(b"{")
    if max(containers, text.count(b",")) > MAX_NODES:
        raise too_many(name)
    return containers


def count_nodes(value: Any, name: str) -> int:
    """How many values a parsed JSON value consists of, itself included; stops at a bound and raises as `parse_json`."""
    if value.__class__ not in _CONTAINERS:
        return 1
    nodes, levels, level = 1, 0, [value]
    while level:
        levels += 1
        if levels > MAX_LEVELS:
            raise _too_deep(name)
        inner: list[Any] = []
        for outer in level:
            nodes += len(outer)
            if nodes > MAX_NODES:
                raise too_many(name)
            children = outer.values() if outer.__class__ is dict else outer
            inner += [child for child in children if child.__class__ in _CONTAINERS]
        level = inner
    return nodes


def _most_nodes(text: bytes) -> int:
    """As many values as a JSON text can have, and levels: each value but one follows a bracket, a brace or a comma."""
    return 1 + text.count(b",") + text.count(b"{") + text.count(b"[")


def _marks_outside_strings(text: bytes) -> bytes:
    marks = text.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NO_MARKS)
    return b"".join(marks.replace(b'""', b"").split(b'"')[::2])  # a pair of quotes with nothing between is left out


def _too_many_at_once() -> Overloaded:
    return Overloaded("Too many large bodies are being read: send this again.")


def _too_deep(name: str) -> RequestRefused:
    return RequestRefused("BAD_REQUEST", f"{name} is nested too deeply: at most {MAX_LEVELS} levels are allowed.")


def too_many(name: str) -> RequestRefused:
    """The refusal (413) of JSON with too many values."""
    return RequestRefused("PAYLOAD_TOO_LARGE", f"{name} has more than {MAX_NODES} JSON values.", 413)
