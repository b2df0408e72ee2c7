"""People: who asks, or whom a shop's own server asks about."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.topics.events import EventConnection, history
from api.graphql.topics.recommendations import RecommendationConnection, RecommendationContext, recommend
from api.graphql.types.batches import BatchPayload
from api.graphql.types.filters import ItemFilter
from api.graphql.types.nodes import Node, node_id_of
from api.graphql.types.patches import given
from api.graphql.types.permissions import requires, requires_or_oneself
from core import clock
from core.contract import Person, check_id
from core.errors import NotFound
from db.users import user_by_id
from engine.catalogue.upserts import store_users
from engine.viewer import Viewer
from ml.rfm import rfm, score

Private = requires_or_oneself("profiles:read")


@strawberry.type(
    description="Recency, frequency and monetary value: the three numbers that describe a customer, each with its"
    " fifth of the shop's customers, 1 (least) to 5 (best)."
)
class Rfm:
    """How lately, how often, how much."""

    recency: float = strawberry.field(description="Days since the last order.")
    frequency: int = strawberry.field(description="Orders in all.")
    monetary: Decimal = strawberry.field(description="Spent in all, returns deducted, in the shop's own currency.")
    recency_score: int = strawberry.field(description="5 for the fifth that ordered most lately.")
    frequency_score: int = strawberry.field(description="5 for the fifth that orders most often.")
    monetary_score: int = strawberry.field(description="5 for the fifth that spends most.")
    segment: str = strawberry.field(
        description="CHAMPION, LOYAL, PROMISING, NEW, NEEDS_ATTENTION, AT_RISK, CANNOT_LOSE or HIBERNATING."
    )


@strawberry.type(description="A person: signed in at the shop, or a guest.")
class User(Node):
    """Someone a list can be made for."""

    id: strawberry.ID = strawberry.field(description="The shop's own id: the user's, or a guest's anonymous id.")
    anonymous: bool = strawberry.field(description="Whether this is a guest.")
    person: strawberry.Private[Person]

    @classmethod
    def of(cls, person: Person) -> Self:
        """The public shape of a person, known or not."""
        return cls(
            node_id=node_id_of("User", f"{person.kind}:{person.id}"),
            id=strawberry.ID(person.id),
            anonymous=person.kind == "guest",
            person=person,
        )

    @strawberry.field(description="Whether the shop described this person or told of anything they did.")
    async def known(self, info: Info) -> bool:
        """Whether there is anything to go by."""
        return await info.context.people.known(self.person)

    @strawberry.field(permission_classes=[Private], description="What the shop says of them; null for a guest.")
    async def traits(self, info: Info) -> JSON | None:
        """The uploaded traits."""
        if self.person.kind == "guest":
            return None
        user = await user_by_id(info.context.gateway.pool, self.person.id)
        return None if user is None else JSON(user.traits)

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="What this person most likely wants next, best first, of what can be had.",
    )
    async def recommendations(
        self,
        info: Info,
        placement: Annotated[
            str,
            strawberry.argument(description="The place on the page the list is for: any name of 1 to 64 characters."),
        ] = "home",
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[
            str | None, strawberry.argument(description="`endCursor` of the page before, at most ten minutes old.")
        ] = None,
        context: Annotated[
            RecommendationContext | None, strawberry.argument(description="Where the person is right now.")
        ] = None,
        filter: Annotated[ItemFilter | None, strawberry.argument(description="Which items may be listed.")] = None,
        exclude: Annotated[
            list[strawberry.ID] | None, strawberry.argument(description="Items to leave out, at most 400.")
        ] = None,
        among: Annotated[
            list[strawberry.ID] | None, strawberry.argument(description="List only these items, at most 500.")
        ] = None,
        preview: Annotated[
            bool, strawberry.argument(description="True when nobody will see the list: it gets no impression.")
        ] = False,
    ) -> RecommendationConnection | None:
        """A page of this person's list."""
        return await recommend(
            info.context, self.person, placement=placement, first=first, after=after, where=context, filter=filter,
            exclude=exclude, among=among, preview=preview,
        )  # fmt: skip

    @strawberry.field(
        permission_classes=[Private], description="How lately, how often, how much; null for someone who never bought."
    )
    async def rfm(self, info: Info) -> Rfm | None:
        """The three numbers as of now, scored by the quintiles of the serving model's people."""
        state, _ = await info.context.people.state(self.person)
        value = rfm(state, int(clock.now().timestamp()))
        if value is None:
            return None
        bundle = info.context.recommender.bundle
        scores = score(value, bundle.rfm_edges if bundle else None)
        return Rfm(
            recency=value.recency,
            frequency=value.frequency,
            monetary=Decimal(value.monetary).scaleb(-2),
            recency_score=scores.recency,
            frequency_score=scores.frequency,
            monetary_score=scores.monetary,
            segment=scores.segment,
        )

    history: EventConnection | None = strawberry.field(
        resolver=history, permission_classes=[Private], description="What the person did, newest first."
    )


@strawberry.type
class PeopleQuery:
    """Whom lists are made for."""

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="The person of the token; null for a client's own token.",
    )
    def me(self, info: Info) -> User | None:
        """Whoever asks."""
        person = info.context.viewer.person
        return None if person is None else User.of(person)

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="A signed-in person. A client's token always gets one, `known` or not; a person's token finds"
        " nobody but that person.",
    )
    def user(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The shop's own id.")]
    ) -> User | None:
        """The person by that id."""
        return visible_person(info.context.viewer, Person("user", check_id(id, "id")))

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="A guest, by the anonymous id the shop's events carry; rules as for `user`.",
    )
    def visitor(
        self,
        info: Info,
        anonymous_id: Annotated[strawberry.ID, strawberry.argument(description="The guest's anonymous id.")],
    ) -> User | None:
        """The guest by that id."""
        return visible_person(info.context.viewer, Person("guest", check_id(anonymous_id, "anonymousId")))


def visible_person(viewer: Viewer, person: Person) -> User:
    """The person; raises NotFound, there or not, when the token is another person's."""
    if viewer.person is not None and viewer.person != person:
        raise NotFound()
    return User.of(person)


@strawberry.input(description="A person as the shop describes them: fields left out keep their value, null clears.")
class UserInput:
    """A patch of a person."""

    id: strawberry.ID = strawberry.field(description="The shop's own id.")
    updated_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="The shop's clock; an older patch than the one stored loses."
    )
    traits: JSON | None = strawberry.field(
        default=strawberry.UNSET, description="Anything to know of them: a JSON object of at most 16 kB, as a whole."
    )


@strawberry.type(description="What became of the people of an `upsertUsers`.")
class UpsertUsersPayload(BatchPayload):
    """The outcomes of a call's people."""


@strawberry.type
class PeopleMutation:
    """People are described here."""

    @strawberry.mutation(
        permission_classes=[requires("profiles:write")],
        description="Describe people, at most 500 a call; an older `updatedAt` than the stored one is a CONFLICT.",
    )
    async def upsert_users(
        self, info: Info, users: Annotated[list[UserInput], strawberry.argument(description="Patches, in their order.")]
    ) -> UpsertUsersPayload | None:
        """Judge and store patches of people, one by one."""
        return UpsertUsersPayload(told=await store_users(info.context.gateway.pool, [given(user) for user in users]))
