"""What one request takes from the limits of its caller, and what its answer says about them.

The headers are those of draft-ietf-httpapi-ratelimit-headers-11.
"""

import asyncio
from collections.abc import Iterable
from math import ceil
from typing import Any, Final

from api.errors import RequestRefused
from api.http.endpoint import Header
from api.limits.limiter import Asked, Level, Limiter, Verdict
from api.limits.policies import Buckets, Policy
from core import metrics

MOST_SECONDS: Final = 86_400


class LimitReached(RequestRefused):
    """The caller has too few units left."""

    def __init__(self, over: Iterable[Level]) -> None:
        longest = max(over, key=lambda level: level.wait)
        wait = min(max(1, ceil(longest.wait)), MOST_SECONDS)
        limit = _words(longest.bucket.policy)
        super().__init__("RATE_LIMITED", f"Too many requests: {limit}. Try again in {wait} s.", 429, retry_after=wait)


class Meter:
    """The limits of one request's caller. Without buckets there are none."""

    def __init__(self, limiter: Limiter | None = None, buckets: Buckets = ()) -> None:
        self._limiter, self._buckets = limiter, buckets
        self._verdict: Verdict | None = None

    @property
    def limited(self) -> bool:
        """Whether the caller has any limit."""
        return self._limiter is not None and bool(self._buckets)

    @property
    def used(self) -> bool:
        """Whether units were taken or refused."""
        return self._verdict is not None

    def check(self, units: int = 1) -> None:
        """Raise LimitReached for a caller who is known to have fewer units left. Asks no store and takes nothing."""
        if self._limiter is not None and (known := self._limiter.known_refusal(self._buckets, units)) is not None:
            self._settle(known)

    async def take(self, units: int) -> None:
        """Take so many units. Raises LimitReached, and RequestRefused (413) for more than a limit allows at all."""
        if self._limiter is not None and self._buckets:
            self._check_fits(units)
            self._settle(await self._limiter.take(self._buckets, units))

    def begin(self, units: int) -> Asked | None:
        """Ask for the units without waiting; None when only `take` can say. Raises RequestRefused as `take` does."""
        if self._limiter is None or not self._buckets:
            return None
        self._check_fits(units)
        return self._limiter.begin(self._buckets, units)

    async def finish(self, units: int, asked: Asked) -> None:
        """Wait for units that were asked for. Raises LimitReached."""
        assert self._limiter is not None
        self._settle(await self._limiter.finish(self._buckets, units, asked))

    def taking(self, units: int) -> "_Taking":
        """Take the units while a block runs, so that Redis answers this together with what the block asks it.

        A refusal cancels the block, before it has read anything, and raises as `take` does. For blocks that change
        nothing.
        """
        return _Taking(self, units)

    def headers(self) -> list[Header]:
        """`RateLimit-Policy`, and `RateLimit` when something is known; none without limits."""
        shown = [bucket.policy.text for bucket in self._buckets if bucket.shown]
        if not shown:
            return []
        headers = [(b"ratelimit-policy", ", ".join(shown).encode())]
        if self._verdict is not None:
            over = self._verdict.over
            most = max((ceil(level.wait) for level in over), default=MOST_SECONDS)  # no later than Retry-After
            levels = (_item(level, max(1, most)) for level in self._verdict.levels if level.bucket.shown)
            if text := ", ".join(levels):
                headers.append((b"ratelimit", text.encode()))
        return headers

    def _check_fits(self, units: int) -> None:
        for bucket in self._buckets:
            if units > bucket.policy.most:
                says = f"This call takes {units} units at once, and {_words(bucket.policy)}: ask for less in one call."
                raise RequestRefused("PAYLOAD_TOO_LARGE", says, 413)

    def _settle(self, verdict: Verdict) -> None:
        self._verdict = verdict
        if not verdict.allowed:
            for level in verdict.over:
                metrics.RATE_LIMITED.labels(level.bucket.policy.name).inc()
            raise LimitReached(verdict.over)


class _Taking:
    """The block of `Meter.taking`."""

    def __init__(self, meter: Meter, units: int) -> None:
        self._meter, self._units = meter, units
        self._asked: Asked | None = None
        self._block: asyncio.Task[Any] | None = None
        self._refused = False

    async def __aenter__(self) -> None:
        self._asked = self._meter.begin(self._units)
        if self._asked is None:  # without limits, or Redis was away, or somebody is over a limit: first the units
            await self._meter.take(self._units)
            return
        self._block = asyncio.current_task()
        self._asked.answers.add_done_callback(self._stop)

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        asked = self._asked
        if asked is None:
            return
        block, self._block = self._block, None  # a callback that is due already must not cancel what follows the block
        if isinstance(error, asyncio.CancelledError):
            assert block is not None
            if not self._refused or block.uncancel():  # somebody else cancelled the block
                asked.answers.cancel()
                return
        await self._meter.finish(self._units, asked)

    def _stop(self, _: object) -> None:
        assert self._asked is not None
        if self._asked.is_refused() and self._block is not None:
            self._refused = True
            self._block.cancel()


def _item(level: Level, most: int) -> str:
    name, seconds = level.bucket.policy.name, min(max(1, ceil(level.full_in)), most)
    return f'"{name}";r={level.left};t={seconds}'


def _words(policy: Policy) -> str:
    whose = {"daily": "the client's daily quota"}.get(policy.name, f"the limit of the {policy.name}")
    return f"{whose} is {policy.most} units in {policy.seconds} s"
