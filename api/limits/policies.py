"""Which limits a caller has: those of the settings, and those of single clients, read from Postgres."""

from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import structlog

from api.http.oauth_changes import Copy, OAuthChanges
from api.http.refresher import Refresher
from core import clock
from core.errors import InvalidInput
from core.rates import read_rate
from core.settings import Rates
from db.cache import rate_key
from db.postgres import Connection
from db.rate_limits import Charge, list_client_limits
from engine.viewer import Viewer

log = structlog.get_logger()

POLL: Final = 3.0  # seconds between two looks at whether clients have changed
MAX_REMEMBERED: Final = 10_000  # callers
DAY: Final = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Policy:
    """At most `most` units in `seconds`. `name` is what headers and errors call it.

    With `by_window` the units are counted anew in each window, such as a UTC day. Without it they come back steadily.
    """

    name: str
    most: int
    seconds: int
    by_window: bool = False
    text: str = field(init=False, default="")  # an item of RateLimit-Policy

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", f'"{self.name}";q={self.most};w={self.seconds}')

    def now(self) -> float:
        """This moment in seconds, on the clock by which this process counts."""
        return clock.now().timestamp() if self.by_window else monotonic()

    def left_over(self, used: float, since: float, now: float, share: float = 1.0) -> float:
        """What is still used at `now` of units that were used `since`, when a `share` of the rate comes back."""
        if self.by_window:
            return used if now // self.seconds == since // self.seconds else 0.0
        return max(0.0, used - max(0.0, now - since) * self.most * share / self.seconds)

    def seconds_until(self, used: float, now: float, share: float = 1.0) -> float:
        """Seconds until so many units have come back."""
        return self.seconds - now % self.seconds if self.by_window else used * self.seconds / (self.most * share)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The units that one caller has under a policy. `shown`: whether the caller may know how many are left."""

    policy: Policy
    key: str
    shown: bool = True

    def charge(self, units: int) -> Charge:
        """The charge of so many units."""
        policy = self.policy
        return Charge(self.key, units, policy.most, policy.seconds, policy.by_window)


Buckets = tuple[Bucket, ...]


class Policies:
    """The buckets of callers. While Postgres is away, the limits of single clients are those of the last read."""

    def __init__(self, rates: Rates, pool: Connection, changes: OAuthChanges, *, poll: float = POLL) -> None:
        self._client = rate_policy("client", rates.rate_client)
        self._person = rate_policy("person", rates.rate_person)
        self._address = rate_policy("address", rates.rate_address)
        self._pool, self._changes = pool, changes
        self._copy = Copy(changes, ("clients",), self._read_limits)
        self._own: dict[str, tuple[Policy, ...]] = {}  # of clients with limits of their own
        self._remembered: dict[object, Buckets] = {}
        self._refresher = Refresher("rate limits", self._read, every=poll)

    async def of_viewer(self, viewer: Viewer) -> Buckets:
        """The buckets of a token's client, and of its person if it names one. A person sees only their own."""
        await self._refresher.refresh()
        found = self._remembered.get(viewer.caller)
        return self._remember(viewer) if found is None else found

    async def of_client(self, client_id: str) -> Buckets:
        """The buckets of a client that asks for tokens."""
        await self._refresher.refresh()
        return self._of_client(client_id, shown=True)

    def of_address(self, address: str) -> Buckets:
        """The bucket of a caller who has no token."""
        return (Bucket(self._address, rate_key("address", address)),) if self._address is not None else ()

    async def close(self) -> None:
        """Stop reading."""
        await self._refresher.close()

    def _of_client(self, client_id: str, shown: bool) -> Buckets:
        policies = self._own.get(client_id, (self._client,) if self._client is not None else ())
        return tuple(Bucket(policy, rate_key(policy.name, client_id), shown) for policy in policies)

    def _remember(self, viewer: Viewer) -> Buckets:
        person = viewer.person
        found = self._of_client(viewer.client_id, shown=person is None)
        if person is not None and self._person is not None:
            found += (Bucket(self._person, rate_key("person", f"{person.kind}:{person.id}")),)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[viewer.caller] = found
        return found

    async def _read(self) -> None:
        await self._changes.read()
        await self._copy.renew()

    async def _read_limits(self) -> None:
        found = await list_client_limits(self._pool)
        own = {id: self._policies_of(id, limits.rate, limits.daily_quota) for id, limits in found.items()}
        if own != self._own:
            self._own = own
            self._remembered.clear()

    def _policies_of(self, client_id: str, rate: str | None, daily_quota: int | None) -> tuple[Policy, ...]:
        try:
            policy = self._client if rate is None else rate_policy("client", rate)
        except InvalidInput:  # another release wrote it
            log.warning("client_rate_not_read", client_id=client_id)
            policy = self._client
        quota = Policy("daily", daily_quota, DAY, by_window=True) if daily_quota is not None else None
        return tuple(one for one in (policy, quota) if one is not None)


def rate_policy(name: str, text: str) -> Policy | None:
    """The policy of a rate such as `6000/minute`; None for `off`. Raises InvalidInput."""
    rate = read_rate(text)
    return None if rate is None else Policy(name, rate.amount, rate.get_expiry())
