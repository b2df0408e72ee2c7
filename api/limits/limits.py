"""The rate limits of one gateway process, and the meter that each request gets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from starlette.types import Scope

from api.http.addresses import caller_of
from api.http.endpoint import TokenRefused, viewer_of
from api.http.oauth_changes import OAuthChanges
from api.limits.limiter import Limiter
from api.limits.meters import Meter
from api.limits.policies import Policies
from core.settings import Rates
from db.postgres import Connection
from engine.viewer import Viewer

_NONE = Meter()


@dataclass(frozen=True, slots=True)
class Limits:
    """What makes the meters."""

    limiter: Limiter
    policies: Policies


@asynccontextmanager
async def open_limits(rates: Rates, redis: Redis, pool: Connection, changes: OAuthChanges) -> AsyncIterator[Limits]:
    """The limits of this process. The limits of single clients are read when the first caller comes."""
    limits = Limits(Limiter(redis), Policies(rates, pool, changes))
    try:
        yield limits
    finally:
        await limits.policies.close()


async def admit(scope: Scope) -> Viewer:
    """The viewer of a request, and its meter in the scope's state.

    Raises what `viewer_of` raises, and LimitReached: for a token that is refused, when its address has no units left;
    else for a viewer who is known to have none left.
    """
    state: dict[str, Any] = scope["state"]
    limits: Limits | None = state.get("limits")
    try:
        viewer = await viewer_of(state["verifier"], scope["headers"])
    except TokenRefused:
        await meter_of_address(scope).take(1)
        raise
    if limits is not None:
        meter = state["meter"] = Meter(limits.limiter, await limits.policies.of_viewer(viewer))
        meter.check()
    return viewer


def meter_of(scope: Scope) -> Meter:
    """The meter of a request that was admitted; one without limits where the process has none."""
    found: Meter = scope["state"].get("meter", _NONE)
    return found


def meter_of_address(scope: Scope) -> Meter:
    """Let the caller's address pay for this request: the meter."""
    state: dict[str, Any] = scope["state"]
    limits: Limits | None = state.get("limits")
    if limits is None:
        return _NONE
    meter = state["meter"] = Meter(limits.limiter, limits.policies.of_address(caller_of(scope)))
    return meter


async def meter_of_client(scope: Scope, client_id: str) -> Meter:
    """Let this client, which authenticated before, pay for a request without a token: the meter."""
    state: dict[str, Any] = scope["state"]
    limits: Limits | None = state.get("limits")
    if limits is None:
        return _NONE
    meter = state["meter"] = Meter(limits.limiter, await limits.policies.of_client(client_id))
    return meter


async def check_client(scope: Scope, client_id: str, units: int) -> None:
    """Raise LimitReached for a client that is known to have fewer units left. Takes nothing, and changes no meter."""
    limits: Limits | None = scope["state"].get("limits")
    if limits is not None:
        Meter(limits.limiter, await limits.policies.of_client(client_id)).check(units)
