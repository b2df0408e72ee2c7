"""An honest caller in a process of its own: a few light queries a second, and now and then a token."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from time import monotonic

import numpy as np

from benchmarks.hostile_traffic import ANSWER_TIMEOUT, Target, Wire, status_of

PACE = 40  # calls a second; every tenth asks for a token, the others for a list or for nothing
LIST = "query($id: ID!) { user(id: $id) { recommendations(first: 5) { edges { rank node { id } } } } }"
BROKEN = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)


@dataclass
class LightCalls:
    """Milliseconds from when each call was due until its answer, and how often there was none or another one."""

    milliseconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def p99(self) -> float:
        """The 99th percentile in milliseconds."""
        return float(np.quantile(self.milliseconds, 0.99))

    @property
    def worst(self) -> float:
        """The slowest call in milliseconds."""
        return max(self.milliseconds)


def serve(pipe: Connection, target: Target, token_request: bytes) -> None:
    """Call for as many seconds as `pipe` says, and send back a `LightCalls`; again until it says None."""
    caller = _LightCaller(target, token_request)
    while (seconds := pipe.recv()) is not None:
        pipe.send(asyncio.run(caller.call(seconds)))


class _LightCaller:
    def __init__(self, target: Target, token_request: bytes) -> None:
        self._target = target
        self._token = token_request
        self._typename = target.post('{"query":"{ __typename }"}')
        bodies = (json.dumps({"query": LIST, "variables": {"id": user}}) for user in target.users[:50])
        self._lists = [target.post(body) for body in bodies]

    async def call(self, seconds: float) -> LightCalls:
        """Call at the pace, without waiting for earlier answers."""
        calls, idle, began = LightCalls(), list[Wire](), monotonic()
        tasks = []
        for number in range(round(seconds * PACE)):
            due = began + number / PACE
            await asyncio.sleep(due - monotonic())
            tasks.append(asyncio.create_task(self._call(self._request(number), due, calls, idle)))
        await asyncio.gather(*tasks)
        for wire in idle:
            wire.close()
        return calls

    def _request(self, number: int) -> bytes:
        if number % 10 == 9:
            return self._token
        return self._typename if number % 2 else self._lists[number % len(self._lists)]

    async def _call(self, request: bytes, due: float, calls: LightCalls, idle: list[Wire]) -> None:
        wire = None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                wire = await self._opened_or(idle)
                head, body = await wire.ask([request])
        except (TimeoutError, *BROKEN) as error:
            calls.failed.append(type(error).__name__)
            if wire is not None:
                wire.close()
        else:
            if b"connection: close" not in head:
                idle.append(wire)
            if status_of(head) != "200" or b'"errors"' in body:
                calls.failed.append(f"{status_of(head)} {body[:200].decode(errors='replace')}")
        calls.milliseconds.append((monotonic() - due) * 1000)

    async def _opened_or(self, idle: list[Wire]) -> Wire:
        """An idle connection that the gateway has not closed meanwhile, or a new one."""
        while idle:
            wire = idle.pop()
            if not wire.reader.at_eof():
                return wire
            wire.close()
        return Wire(*await asyncio.open_connection(self._target.host, self._target.port))


def first_failures(calls: Sequence[LightCalls]) -> list[str]:
    """The first failure of each kind."""
    return list(dict.fromkeys(failure for some in calls for failure in some.failed))[:5]
