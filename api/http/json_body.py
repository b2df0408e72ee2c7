"""Reads JSON from callers within bounds: so many values, so deep. Checked before anything looks at the values."""

from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from api.errors import RequestRefused
from core.bulkhead import Bulkhead, CallerBulkheads
from core.errors import Overloaded, RateLimited

MAX_NODES: Final = 50_000  # objects, arrays, strings, numbers, booleans and nulls of a body
MAX_LEVELS: Final = 32  # objects and arrays inside each other
MANY_CONTAINERS: Final = 6_000  # more objects and arrays make a body heavy; 500 items with two offers have 3,500
_CONTAINERS = (dict, list)
_NO_MARKS: Final = bytes(set(range(256)) - set(b'[{"'))


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON value within the bounds, and how many values it consists of, itself included."""

    value: Any
    nodes: int


def parse_json(text: bytes | str, name: str) -> Json:
    """The JSON in `text`; `name` is what the errors call it, such as "The body".

    Raises RequestRefused: 400 when it is not JSON or nested more than 32 levels deep, 413 for more than 50,000 values.
    """
    encoded = text.encode() if isinstance(text, str) else text
    check_containers(encoded, name)
    try:
        value = orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg:  # orjson's own, 1,024 levels
            raise _too_deep(name) from None
        raise RequestRefused("BAD_REQUEST", f"{name} is not JSON.") from None
    return Json(value, count_nodes(value, name))


class HeavyBodies:
    """The places of heavy bodies in a process: a garbage collection looks at every value of those that are read.

    Each caller has one of them at a time, so that no caller can take them all.
    """

    def __init__(self) -> None:
        self._places = Bulkhead(2, waiting=32, patience=2.0, refuse=_too_many_at_once)
        self._callers = CallerBulkheads(partial(Bulkhead, 1, waiting=8, patience=2.0, refuse=RateLimited))

    @asynccontextmanager
    async def place(self, body: bytes, caller: Hashable) -> AsyncIterator[None]:
        """A place for reading and answering this body: at once, unless it is heavy. Raises Overloaded, RateLimited."""
        if _count_openings(body, MANY_CONTAINERS) <= MANY_CONTAINERS:
            yield
            return
        async with self._callers.of(caller).place(), self._places.place():
            yield


def check_containers(text: bytes, name: str) -> None:
    """Refuse more objects and arrays than values are allowed, before they are made: a megabyte of brackets takes 80 ms.

    Raises RequestRefused (413).
    """
    if _count_openings(text, MAX_NODES) > MAX_NODES:
        raise too_many(name)


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
            inner += [child for child in _children(outer) if child.__class__ in _CONTAINERS]
        level = inner
    return nodes


def _count_openings(text: bytes, enough: int) -> int:
    """How many `[` and `{` there are. Those inside strings are left out when there are more than `enough` with them."""
    count = text.count(b"[") + text.count(b"{")
    if count <= enough:
        return count
    marks = text.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NO_MARKS)
    outside = b"".join(marks.replace(b'""', b"").split(b'"')[::2])  # a pair of quotes with nothing between is left out
    return outside.count(b"[") + outside.count(b"{")


def _children(container: Any) -> Iterable[Any]:
    return container.values() if container.__class__ is dict else container


def _too_many_at_once() -> Overloaded:
    return Overloaded("Too many large bodies are being read: send this again.")


def _too_deep(name: str) -> RequestRefused:
    return RequestRefused("BAD_REQUEST", f"{name} is nested too deeply: at most {MAX_LEVELS} levels are allowed.")


def too_many(name: str) -> RequestRefused:
    """The refusal (413) of JSON with too many values."""
    return RequestRefused("PAYLOAD_TOO_LARGE", f"{name} has more than {MAX_NODES} JSON values.", 413)
