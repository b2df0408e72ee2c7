"""Takes units from the buckets of callers: in Redis for all gateways, or in this process while Redis is away."""

from collections import OrderedDict
from collections.abc import Sequence
from math import inf
from time import monotonic
from typing import Final, NamedTuple

from redis.asyncio import Redis

from api.limits.policies import Bucket, Buckets
from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db import rate_limits
from db.rate_limits import Charge
from db.redis_link import Answers

PAUSE: Final = 1.0  # seconds without calls to Redis after one failed; then one request tries it
LOCAL_SHARE: Final = 0.25  # of a rate comes back in each process while Redis is away
MAX_COUNTED: Final = 20_000  # keys of each table
ASK_AGAIN: Final = 5.0  # seconds a caller is known to be over a limit; after that Redis is asked again


class Level(NamedTuple):
    """How full one bucket is. `wait`: seconds until the units asked for fit in; 0 when they did."""

    bucket: Bucket
    left: int
    full_in: float  # seconds until all units are back
    wait: float = 0.0


class Verdict(NamedTuple):
    """Whether the units were taken, and the levels that are known."""

    allowed: bool
    levels: tuple[Level, ...]

    @property
    def over(self) -> list[Level]:
        """The buckets that have too few units."""
        return [level for level in self.levels if level.wait > 0]


class Asked(NamedTuple):
    """Units that Redis was asked for."""

    charges: list[Charge]
    answers: Answers

    def is_refused(self) -> bool:
        """Whether Redis has refused them already."""
        return rate_limits.is_refused(self.answers)


class Counts:
    """Units used by key, as this process counts them. The key used least recently is dropped first."""

    def __init__(self, *, kept_for: float = inf, share: float = 1.0) -> None:
        self._kept_for, self.share = kept_for, share
        self._used: OrderedDict[str, tuple[float, float, float]] = OrderedDict()  # units, since when, until when kept

    def __bool__(self) -> bool:
        return bool(self._used)

    def used(self, bucket: Bucket) -> float:
        """The units that are used of a bucket now."""
        found = self._used.get(bucket.key)
        if found is None:
            return 0.0
        units, since, until = found
        now = bucket.policy.now()
        if monotonic() >= until:
            del self._used[bucket.key]
            return 0.0
        if now < since:  # the clock was set back: the units come back from now on
            self._used[bucket.key] = units, now, until
        return min(bucket.policy.left_over(units, since, now, self.share), bucket.policy.most)

    def set(self, bucket: Bucket, units: float) -> None:
        """Note that so many units of a bucket are used now."""
        self._used[bucket.key] = units, bucket.policy.now(), monotonic() + self._kept_for
        self._used.move_to_end(bucket.key)
        if len(self._used) > MAX_COUNTED:
            self._used.popitem(last=False)


class Limiter:
    """The limiter of one process. No method raises while Redis is away.

    A caller who was refused is refused here, without Redis, until the units would fit. While Redis is away, each
    process lets a caller have all units of a limit once, and then `LOCAL_SHARE` of the rate.
    """

    def __init__(self, redis: Redis, *, pause: float = PAUSE) -> None:
        self._redis = redis
        self._pause = pause
        self._paused_until = 0.0
        self._over = Counts(kept_for=ASK_AGAIN)
        self._local = Counts(share=LOCAL_SHARE)

    async def take(self, buckets: Buckets, units: int) -> Verdict:
        """Take the units from all buckets, or from none when one has too few left. No bucket may be smaller."""
        if (known := self.known_refusal(buckets, units)) is not None:
            return known
        if monotonic() < self._paused_until:
            return self._take_locally(buckets, units)
        away = self._paused_until > 0
        if away:
            self._paused_until = monotonic() + self._pause  # one request tries Redis; the others do not wait for it
        try:
            taken = await rate_limits.take(self._redis, [bucket.charge(units) for bucket in buckets])
        except StoreUnavailable as error:
            self._paused_until = monotonic() + self._pause
            if not away:
                log_unavailable(error, doing="count requests for all gateways")
            return self._take_locally(buckets, units)
        self._paused_until = 0.0
        return self._verdict(buckets, units, taken)

    def begin(self, buckets: Buckets, units: int) -> Asked | None:
        """Ask for the units without waiting: `finish` waits. None when `take` may know better than Redis."""
        if self._over or self._paused_until:
            return None
        charges = [bucket.charge(units) for bucket in buckets]
        answers = rate_limits.begin(self._redis, charges)
        return None if answers is None else Asked(charges, answers)

    async def finish(self, buckets: Buckets, units: int, asked: Asked) -> Verdict:
        """What `take` returns, of units that Redis was asked for."""
        try:
            taken = await rate_limits.finish(self._redis, asked.charges, asked.answers)
        except StoreUnavailable as error:
            if monotonic() >= self._paused_until:
                log_unavailable(error, doing="count requests for all gateways")
            self._paused_until = monotonic() + self._pause
            return self._take_locally(buckets, units)
        return self._verdict(buckets, units, taken)

    def known_refusal(self, buckets: Buckets, units: int) -> Verdict | None:
        """The refusal of a caller who is known to have too few units left; None for everybody else."""
        if not self._over:
            return None
        levels = tuple(
            _level(bucket, used, units)
            for bucket in buckets
            if (used := self._over.used(bucket)) + units > bucket.policy.most
        )
        return Verdict(False, levels) if levels else None

    def _verdict(self, buckets: Buckets, units: int, taken: rate_limits.Taken) -> Verdict:
        if taken.allowed:
            return _verdict(buckets, taken.used, 0, taken.now)
        for bucket, used in zip(buckets, taken.used, strict=True):
            if used + units > bucket.policy.most:
                self._over.set(bucket, used)
        return _verdict(buckets, taken.used, units, taken.now)

    def _take_locally(self, buckets: Buckets, units: int) -> Verdict:
        used = [self._local.used(bucket) for bucket in buckets]
        allowed = all(units_ + units <= bucket.policy.most for bucket, units_ in zip(buckets, used, strict=True))
        if allowed:
            used = [units_ + units for units_ in used]
            for bucket, units_ in zip(buckets, used, strict=True):
                self._local.set(bucket, units_)
        return _verdict(buckets, used, 0 if allowed else units, None, LOCAL_SHARE)


def _verdict(buckets: Buckets, used: Sequence[float], units: int, now: float | None, share: float = 1.0) -> Verdict:
    """The verdict from what is used now; `units` are those that were refused, 0 when they were taken."""
    pairs = zip(buckets, used, strict=True)
    return Verdict(not units, tuple(_level(bucket, each, units, now, share) for bucket, each in pairs))


def _level(bucket: Bucket, used: float, units: int, now: float | None = None, share: float = 1.0) -> Level:
    """The level of a bucket at `now`, by the clock of Redis; None: at this moment, by our own."""
    policy = bucket.policy
    now = policy.now() if now is None else now
    over = used + units - policy.most
    return Level(
        bucket,
        left=max(0, int(policy.most - used)),
        full_in=policy.seconds_until(used, now, share),
        wait=policy.seconds_until(over, now, share) if over > 0 else 0.0,
    )
