"""Makes a failing operation smaller: parts of its document are left out as long as it still fails."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

from graphql import REMOVE, GraphQLSyntaxError, Node, Visitor, parse, print_ast, visit

from benchmarks.operation_grammar import Call

MOST_TRIES = 200


async def shrunk(call: Call, fails: Callable[[Call], Awaitable[bool]]) -> Call:
    """The smallest call found for which `fails` is still true."""
    tries, found = MOST_TRIES, True
    while found:
        found = False
        for query in _smaller(call.query):
            if tries <= 0:
                return call
            tries -= 1
            if await fails(smaller := replace(call, query=query)):
                call, found = smaller, True
                break
    return await _without_variables(call, fails)


async def _without_variables(call: Call, fails: Callable[[Call], Awaitable[bool]]) -> Call:
    for name in list(call.variables) if isinstance(call.variables, dict) else ():
        smaller = replace(call, variables={other: value for other, value in call.variables.items() if other != name})
        if await fails(smaller):
            call = smaller
    return call


def _smaller(query: str) -> Iterator[str]:
    """The document without one of its definitions, selections, arguments, directives or values; the outermost first."""
    try:
        document = parse(query)
    except GraphQLSyntaxError:
        return
    place = 0
    while True:
        without = _Without(place)
        edited = visit(document, without)
        if not without.removed:
            return
        yield print_ast(edited)
        place += 1


class _Without(Visitor):
    """Removes the node at this place among all nodes that are elements of lists."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self._left = place
        self.removed = False

    def enter(self, node: Node, key: Any, *_: Any) -> Any:
        """Remove the node when it is the one."""
        if not isinstance(key, int) or self.removed:
            return None
        self._left -= 1
        self.removed = self._left < 0
        return REMOVE if self.removed else None
