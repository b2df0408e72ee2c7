"""Streams: WebSockets and event streams, which stay open. How many may be, and when all of them must end."""

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from api.errors import RequestRefused
from api.http.addresses import UNKNOWN
from api.http.endpoint import Header, viewer_of
from core import clock
from core.tasks import end
from engine.viewer import TokenVerifier, Viewer

MOST_WEBSOCKETS: Final = 5_000  # of a process
MOST_EVENT_STREAMS: Final = 500  # of a process: each counts among the requests at work
CHECK: Final = 2.0  # seconds between checks of the token of a stream
MOST_OF_CALLER: Final = 50  # streams of a client, or of one of its people
MOST_BEGINNING: Final = 100  # WebSockets of an address that have not named a client yet
MOST_OPERATIONS: Final = 500  # that run at a time on all WebSockets of a process


class Streams:
    """The streams of one process. `ending` is set when the process ends: each stream then ends by itself."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.websockets = Places(MOST_WEBSOCKETS, "Too many WebSockets are open: try again.")
        self.event_streams = Places(MOST_EVENT_STREAMS, "Too many event streams are open: try again.")
        self.operations = Places(MOST_OPERATIONS, "Too many operations run on WebSockets: try again.")
        self._callers: Counter[Hashable] = Counter()
        self._beginning: Counter[str] = Counter()

    async def end_of(self, verifier: TokenVerifier, headers: list[Header], viewer: Viewer) -> None:
        """Return when the process ends, or the token in these headers: see `token_end`."""
        token = asyncio.create_task(token_end(verifier, headers, viewer))
        ending = asyncio.create_task(self.ending.wait())
        try:
            await asyncio.wait({token, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end([token, ending])

    @contextmanager
    def of_caller(self, caller: Hashable) -> Iterator[None]:
        """Count a stream of this caller while a block runs. Raises RequestRefused (429) beyond `MOST_OF_CALLER`."""
        message = f"Too many streams are open: at most {MOST_OF_CALLER} for one client, or one of its people."
        with _counted(self._callers, caller, MOST_OF_CALLER, message):
            yield

    @contextmanager
    def beginning(self, address: str) -> Iterator[None]:
        """Count a WebSocket of this address until it has named its client.

        Raises RequestRefused (429) beyond `MOST_BEGINNING`. Callers without an address are not told apart, nor counted.
        """
        if address == UNKNOWN:
            yield
            return
        message = f"Too many WebSockets wait for connection_init: at most {MOST_BEGINNING} of one address."
        with _counted(self._beginning, address, MOST_BEGINNING, message):
            yield


@contextmanager
def _counted(counter: Counter[Any], who: Hashable, most: int, refusal: str) -> Iterator[None]:
    if counter[who] >= most:
        raise RequestRefused("RATE_LIMITED", refusal, 429)
    counter[who] += 1
    try:
        yield
    finally:
        counter[who] -= 1
        if not counter[who]:
            del counter[who]


class Places:
    """At most so many of one kind at a time."""

    def __init__(self, most: int, refusal: str) -> None:
        self._most, self._refusal, self.taken = most, refusal, 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place while a block runs. Raises RequestRefused (503) when there is none."""
        if self.taken >= self._most:
            raise RequestRefused("SERVICE_UNAVAILABLE", self._refusal, 503)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


async def token_end(verifier: TokenVerifier, headers: list[Header], viewer: Viewer) -> None:
    """Return when the bearer token in these headers has expired, was revoked, or has not all scopes of `viewer` left.

    Also when tokens could not be checked for minutes.
    """
    while await holds_after_a_while(verifier, headers, viewer):
        pass


async def holds_after_a_while(verifier: TokenVerifier, headers: list[Header], viewer: Viewer) -> bool:
    """Whether the token still holds, see `token_end`, when the time of the next check has come."""
    left = viewer.expires_at - clock.now().timestamp()
    if left <= 0:
        return False
    await asyncio.sleep(min(CHECK, left))
    try:
        return (await viewer_of(verifier, headers)).scopes == viewer.scopes
    except RequestRefused:
        return False
