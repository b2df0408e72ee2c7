"""Random operations and requests over HTTP, with every scope and with few: the gateway may refuse them, never fail."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from graphql import GraphQLSchema

from benchmarks.hostile_entrances import Entrances, Headers
from benchmarks.hostile_traffic import FAULT, Target, Wire, status_of
from benchmarks.operation_grammar import Call, OperationGrammar
from benchmarks.operation_shrinking import shrunk

CONNECTIONS = 8
REQUESTS = 0.1  # share of random requests to all entrances
TIMEOUT = 30.0  # seconds
MOST_SHOWN = 2_000  # characters of a request
ENDS = (b"connection: close", b"transfer-encoding: chunked")  # in a head: the connection is not used again


@dataclass
class Fuzzed:
    """How the gateway answered, and each different failure with the first request that led to it."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, "Sent"] = field(default_factory=dict)

    def fail(self, kind: str, sent: "Sent") -> None:
        """Count a failure; keep the shortest request of its kind."""
        self.failures[kind] += 1
        if kind not in self.examples or len(sent.raw) < len(self.examples[kind].raw):
            self.examples[kind] = sent


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as bytes, how it is shown, its token, and the operation in it, if it is one."""

    raw: bytes
    shown: str
    token: str
    call: Call | None = None


class Fuzzer:
    """Sends what the grammar makes on some connections, each request with one of the tokens."""

    def __init__(self, target: Target, schema: GraphQLSchema, seed: int, tokens: Sequence[str]) -> None:
        self._target, self._schema, self._seed = target, schema, seed
        users, items = [*target.users[:20]], [*target.items[:50]]
        pools = {"id": [*users, *items[:20]], "userId": users, "ids": items, "itemId": items, "itemIds": items}
        self._grammar = OperationGrammar(schema, seed, pools)
        self._entrances = Entrances(schema, self._grammar, seed)
        self._tokens = itertools.cycle(tokens)
        self.found = Fuzzed()

    async def send(self, count: int) -> Fuzzed:
        """Send that many operations, and requests beside them."""
        waiting = iter(range(count))
        await asyncio.gather(*(self._run(waiting) for _ in range(CONNECTIONS)))
        return self.found

    async def smallest(self, kind: str) -> str:
        """A request that failed in this way, made as small as possible when it is an operation."""
        example = self.found.examples[kind]
        if example.call is None:
            return example.shown[:MOST_SHOWN]

        async def fails(call: Call) -> bool:
            again = Fuzzer(self._target, self._schema, self._seed, [example.token])
            wire = await again._ask(None, self._operation(0, call, example.token))
            if wire is not None:
                wire.close()
            return kind in again.found.failures

        smaller = await shrunk(example.call, fails)
        return f"seed {self._seed}, {example.shown[:MOST_SHOWN]}\n    smaller: {smaller.body[:MOST_SHOWN]}"

    async def _run(self, waiting: Iterator[int]) -> None:
        wire: Wire | None = None
        for number in waiting:
            wire = await self._ask(wire, self._operation(number, self._grammar.call(), next(self._tokens)))
            if number % round(1 / REQUESTS) == 0:
                wire = await self._ask(wire, self._request(number))
        if wire is not None:
            wire.close()

    def _operation(self, number: int, call: Call, token: str) -> Sent:
        raw = self._raw("POST", "/graphql", {"Content-Type": "application/json"}, call.body.encode(), token)
        return Sent(raw, f"operation {number}: {call.body}", token, call)

    def _request(self, number: int) -> Sent:
        method, path, headers, body = self._entrances.request()
        token = next(self._tokens)
        shown = f"request {number}: {method} {path} {headers} {body!r}"
        return Sent(self._raw(method, path, headers, body, token), shown, token)

    def _raw(self, method: str, path: str, headers: Headers, body: bytes, token: str) -> bytes:
        lines = (f"{name}: {value}" for name, value in headers.items())
        return self._target.request(method, path, body, f"Authorization: Bearer {token}", *lines)

    async def _ask(self, wire: Wire | None, sent: Sent) -> Wire | None:
        try:
            async with asyncio.timeout(TIMEOUT):
                wire = wire or Wire(*await asyncio.open_connection(self._target.host, self._target.port))
                head, body = await wire.ask([sent.raw], sent.raw.startswith(b"HEAD "))
        except (TimeoutError, OSError, asyncio.IncompleteReadError, ValueError) as error:
            self.found.answers["none"] += 1
            self.found.fail(f"no answer: {type(error).__name__}", sent)
            if wire is not None:
                wire.close()
            return None
        self._judge(head, body, sent)
        if status_of(head) == "500" or any(end in head for end in ENDS):  # the server closes after an unexpected error
            wire.close()
            return None
        return wire

    def _judge(self, head: bytes, body: bytes, sent: Sent) -> None:
        status = status_of(head)
        answer: Any = None
        with suppress(ValueError):
            answer = json.loads(body)
        self.found.answers[f"{status} {_outcome(answer)}"] += 1
        if sent.call:
            self._grammar.values.learn((answer or {}).get("data"))
        if status == "500" or FAULT in body:
            self.found.fail(f"{status} {_failed_path(answer)}", sent)
        elif answer is None and sent.call:
            self.found.fail(f"{status}, not JSON", sent)


def _outcome(answer: Any) -> str:
    errors = answer.get("errors", ()) if isinstance(answer, dict) else ()
    codes = [error["extensions"]["code"] for error in errors if isinstance(error, dict)]
    return codes[0] if codes else "ok"


def _failed_path(answer: Any) -> str:
    """Where the gateway failed, without indexes and aliases."""
    errors = answer.get("errors", ()) if isinstance(answer, dict) else ()
    paths = [error.get("path") or [error["message"][:40]] for error in errors]
    return " ".join(".".join(step for step in path if isinstance(step, str)) for path in paths[:1])
