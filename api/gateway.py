"""What one gateway process holds: connections, and the read-only, versioned things answers are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncpg import Pool
    from redis.asyncio import Redis

    from bus.publisher import Broker
    from core.settings import Settings
    from engine.catalogue.catalogue import Catalogue
    from engine.intake.ingest import EventIntake
    from engine.recommending.people import PeopleReader
    from engine.recommending.serving_models import ServingModels
    from engine.signing import Signer
    from engine.viewer import TokenVerifier


@dataclass(slots=True)
class Gateway:
    """Opened by the lifespan of `api.app`, closed with it."""

    settings: Settings
    pool: Pool
    redis: Redis
    catalogue: Catalogue
    models: ServingModels
    people: PeopleReader
    ingest: EventIntake
    signer: Signer
    broker: Broker
    verifier: TokenVerifier
