"""What a resolver may reach: who asks, what this process holds, and what this one request has already looked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import strawberry

if TYPE_CHECKING:
    from asyncpg import Pool
    from redis.asyncio import Redis

    from api.oauth.tokens.verifier import Verifier
    from bus.publisher import Publisher
    from core.settings import Settings
    from engine.catalogue.catalogue import Catalogue
    from engine.intake.ingest import Ingest
    from engine.recommending.people import People
    from engine.recommending.serving_models import ServingModels
    from engine.signing import Signer
    from engine.viewer import Viewer


@dataclass(slots=True)
class Gateway:
    """What one process holds: connections and the read-only, versioned things answers are made of."""

    settings: Settings
    pool: Pool
    redis: Redis
    catalogue: Catalogue
    models: ServingModels
    people: People
    ingest: Ingest
    signer: Signer
    broker: Publisher
    verifier: Verifier


@dataclass(slots=True)
class Context:
    """One request. `memo` keeps what several fields of the same request need, under a key of the caller's own."""

    viewer: Viewer
    gateway: Gateway
    request_id: str
    memo: dict[Any, Any] = field(default_factory=dict)


Info = strawberry.Info[Context, None]
