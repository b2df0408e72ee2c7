"""What a resolver may reach: the viewer, the process's gateway, and this request's loaders."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import strawberry

from api.gateway import Gateway
from core.cached_properties import CachedProperty
from core.contract import Event, Person
from core.gathered_reads import GatheredReads
from core.turns import OneAtATime
from db.client_audit import AuditEntry, TrailPart, list_audits
from db.clients import Client, clients_by_ids, last_uses
from db.dead_events import bodies_of_dead_events
from db.erasures import Erasure, erasures_by_ids
from db.events import HistoryPart, events_for_items, events_of_people
from db.jobs import Job, jobs_by_ids
from db.serving import (
    Decision,
    Model,
    Serving,
    decisions_by_ids,
    gate_decisions,
    models_by_ids,
    newest_decisions,
    serving_rows,
)
from db.shares import Share
from db.users import User, users_by_id
from engine.recommending.page_slots import PageMaker
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import Recommender
from engine.viewer import Viewer

MAX_EVENTS = 3  # per reason


@dataclass
class Context:
    """One request. Its loaders read each person once and keep one bundle, however many fields ask.

    `trusted_document` is the id of its document when that is a trusted one. `shown` collects the ids of the items that
    the answer depends on, where caches may keep it.
    """

    viewer: Viewer
    gateway: Gateway
    request_id: str
    trusted_document: str | None = None
    shown: dict[str, None] | None = None

    def note_shown(self, ids: Iterable[str]) -> None:
        """Note that the answer depends on the items with these ids, also on those that are not there."""
        if self.shown is not None:
            self.shown.update(dict.fromkeys(ids))

    @CachedProperty
    def filters(self) -> dict[int, Any]:
        """What `api.graphql.types.filters` has read."""
        return {}

    @CachedProperty
    def _evidence(self) -> dict[Person, GatheredReads[str, list[Event]]]:
        return {}

    @CachedProperty
    def people(self) -> PersonLoader:
        """The people this request has read."""
        return PersonLoader(self.gateway.people)

    def read_people_again(self) -> None:
        """Read people anew from now on: this request has just changed what one of them chose."""
        for name in ("people", "recommender", "pages"):
            self.__dict__.pop(name, None)

    @CachedProperty
    def recommender(self) -> Recommender:
        """The lists of this request, all from one bundle."""
        gateway = self.gateway
        return Recommender(gateway.catalogue, gateway.models, gateway.signer, self.people, self.turns)

    @CachedProperty
    def pages(self) -> PageMaker:
        """The pages of this request, from the same bundle."""
        gateway = self.gateway
        return PageMaker(gateway.catalogue, gateway.models, self.people, self.turns, self.recommender.bundle)

    def evidence(self, person: Person) -> GatheredReads[str, list[Event]]:
        """The person's newest events about an item, at most three: a query for all lists that this request shows."""
        if person not in self._evidence:
            read = partial(events_for_items, self.reads, person, each=MAX_EVENTS)
            self._evidence[person] = GatheredReads(read)
        return self._evidence[person]

    @CachedProperty
    def described(self) -> GatheredReads[str, User]:
        """Users as the shop describes them, by id: a query for all that this request shows."""
        return GatheredReads(partial(users_by_id, self.gateway.shares.people))

    @CachedProperty
    def histories(self) -> GatheredReads[HistoryPart, list[Event]]:
        """Pages of histories: a query for all that this request shows, and one more where it shows guests and users."""
        return GatheredReads(partial(events_of_people, self.reads))

    @CachedProperty
    def jobs(self) -> GatheredReads[int, Job]:
        """Jobs by id: a query for all that this request shows."""
        return GatheredReads(partial(jobs_by_ids, self.reads))

    @CachedProperty
    def models(self) -> GatheredReads[str, Model]:
        """Models by id: a query for all that this request shows."""
        return GatheredReads(partial(models_by_ids, self.reads))

    @CachedProperty
    def serving(self) -> GatheredReads[str, Serving]:
        """The serving row of each model that serves, by model: a query for all that this request shows."""
        return GatheredReads(partial(serving_rows, self.reads))

    @CachedProperty
    def model_decisions(self) -> GatheredReads[str, Decision]:
        """The newest decisions about models, by model: a query for all that this request shows."""
        return GatheredReads(partial(newest_decisions, self.reads))

    @CachedProperty
    def gate_decisions(self) -> GatheredReads[str, Decision]:
        """The gate's decisions about models, by model: a query for all that this request shows."""
        return GatheredReads(partial(gate_decisions, self.reads))

    @CachedProperty
    def decisions(self) -> GatheredReads[int, Decision]:
        """Decisions by id: a query for all that this request shows."""
        return GatheredReads(partial(decisions_by_ids, self.reads))

    @CachedProperty
    def clients(self) -> GatheredReads[str, Client]:
        """OAuth clients by id: a query for all that this request shows."""
        return GatheredReads(partial(clients_by_ids, self.reads))

    @CachedProperty
    def erasures(self) -> GatheredReads[UUID, Erasure]:
        """Receipts of erasures by id: a query for all that this request shows."""
        return GatheredReads(partial(erasures_by_ids, self.reads))

    @CachedProperty
    def dead_bodies(self) -> GatheredReads[int, bytes]:
        """The bodies of dead events by id: a query for all that this request shows."""
        return GatheredReads(partial(bodies_of_dead_events, self.reads))

    @CachedProperty
    def client_uses(self) -> GatheredReads[str, datetime]:
        """When clients were used last, by id: a query for all that this request shows."""
        return GatheredReads(partial(last_uses, self.reads))

    @CachedProperty
    def client_audits(self) -> GatheredReads[TrailPart, list[AuditEntry]]:
        """Parts of the audit trails of clients: a query for all that this request shows."""
        return GatheredReads(partial(list_audits, self.reads))

    @CachedProperty
    def turns(self) -> OneAtATime:
        """What a resolver that computes for long enters first."""
        return OneAtATime(self.gateway.turns, self.viewer.caller)

    @CachedProperty
    def reads(self) -> Share:
        """What expensive reads of Postgres use: the share of this caller, the client and the person of the token."""
        return self.gateway.shares.expensive.of(self.viewer.caller)


Info = strawberry.Info[Context, None]
