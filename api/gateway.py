"""What one gateway process holds: connections to the stores, and the catalogue and models it answers from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api.http.json_body import HeavyBodies
from core.turns import Turns
from engine.jobs.feed import JobFeed
from engine.privacy.archive import Archive
from engine.readiness.readiness import KeptReadiness

if TYPE_CHECKING:
    from collections.abc import Collection

    from redis.asyncio import Redis

    from bus.publisher import Publisher
    from core.contract import Person
    from core.settings import Settings
    from db.postgres import Pool
    from db.shares import Shares
    from engine.catalogue.catalogue import Catalogue
    from engine.clients.administering import ClientAdministration
    from engine.clients.deprecated_uses import DeprecatedUses
    from engine.forecasting.serving_forecast import ServingForecast
    from engine.intake.ingest import EventIntake
    from engine.maintenance.vitals import Vitals
    from engine.placements.serving_placements import ServingPlacements
    from engine.reasons.texts import ReasonTexts
    from engine.recommending.people import PeopleReader
    from engine.recommending.serving_models import ServingModels
    from engine.rules.serving_rules import ServingRules
    from engine.signing import Signer
    from engine.viewer import TokenVerifier


@dataclass(slots=True)
class Gateway:
    """The lifespan of `api.app` opens and closes it."""

    settings: Settings
    pool: Pool  # for what is small and needed at once; all else uses a share of it
    shares: Shares
    redis: Redis
    catalogue: Catalogue
    models: ServingModels
    forecast: ServingForecast
    people: PeopleReader
    vitals: Vitals
    ingest: EventIntake
    signer: Signer
    broker: Publisher
    verifier: TokenVerifier
    clients: ClientAdministration
    deprecated_uses: DeprecatedUses
    placements: ServingPlacements
    rules: ServingRules
    archive: Archive = field(default_factory=Archive)
    turns: Turns = field(default_factory=Turns)
    heavy_bodies: HeavyBodies = field(default_factory=HeavyBodies)
    job_feed: JobFeed = field(init=False)
    readiness: KeptReadiness = field(init=False)

    def __post_init__(self) -> None:
        self.job_feed = JobFeed(self.shares.bulk)
        self.readiness = KeptReadiness(self.shares.expensive)

    @property
    def reason_texts(self) -> ReasonTexts:
        """The texts of reasons in all lists but those of placements with texts of their own."""
        return self.placements.texts

    def drop_base_later(self, person: Person) -> None:
        """Drop a person's base as soon as Redis answers: it missed something about them."""
        self.ingest.drop_base_later(person)

    def forget(self, people: Collection[Person]) -> None:
        """Drop what this process remembers of people."""
        self.people.forget(people)
        self.models.lists.forget(people)
        self.models.evidence.forget(people)
